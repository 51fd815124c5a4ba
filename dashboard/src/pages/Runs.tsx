export interface Props {
  /** null shows the selected runs of any experiment. */
  experiment: string | null;
}

export default function Runs(_: Props) {
  return null;
}
