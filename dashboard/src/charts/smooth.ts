/**
 * The exponential moving average of a series, corrected for its start: its first value is that of the series, not a
 * blend with zero. Gaps (NaN) stay gaps and do not count. A weight of 0 changes nothing; it must be below 1.
 */
export function smoothed(values: Float32Array, weight: number): Float32Array {
  const result = new Float32Array(values.length).fill(NaN);
  let average = 0;
  let known = 0; // how much of the average is made of values, 0 to 1
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i]!;
    if (Number.isNaN(value)) {
      continue;
    }
    average = weight * average + (1 - weight) * value;
    known = weight * known + (1 - weight);
    result[i] = average / known;
  }
  return result;
}
