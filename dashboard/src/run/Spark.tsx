const WIDTH = 96;
const HEIGHT = 20;
const EDGE = 2;

/** A line without axes; what is not finite is a gap. */
export function Spark({ values }: { values: ArrayLike<number> }) {
  const finite = Array.from(values).filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const x = (index: number) => EDGE + (index / Math.max(values.length - 1, 1)) * (WIDTH - 2 * EDGE);
  const y = (value: number) => (high === low ? HEIGHT / 2 : HEIGHT - EDGE - ((value - low) / (high - low)) * (HEIGHT - 2 * EDGE));
  const path = Array.from(values)
    .map((value, index, all) => (Number.isFinite(value) ? `${Number.isFinite(all[index - 1]) ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}` : ""))
    .join("");
  return (
    <svg width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} fill="none" stroke="var(--accent)" strokeWidth="1.25" strokeLinecap="round" aria-hidden="true">
      {finite.length === 1 ? <circle cx={WIDTH / 2} cy={HEIGHT / 2} r="1.5" fill="var(--accent)" /> : <path d={path} />}
    </svg>
  );
}
