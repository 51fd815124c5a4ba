export interface Props {
  run: string;
  /** What follows in the address: "", "metrics", "artifacts/plots/cm.png", "source", "history". */
  tab: string;
}

export default function Run(_: Props) {
  return null;
}
