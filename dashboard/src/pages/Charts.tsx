export interface Props {
  /** null shows the selected runs of any experiment. */
  experiment: string | null;
}

export default function Charts(_: Props) {
  return null;
}
