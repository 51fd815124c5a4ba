/**
 * The value of a series at `x`, on the straight line between the buckets beside it; NaN before its first and after its
 * last. `xs` must rise.
 */
export function valueAt(xs: Float64Array, values: Float32Array, x: number): number {
  const after = firstAtLeast(xs, x);
  let right = after;
  while (right < xs.length && Number.isNaN(values[right]!)) {
    right += 1;
  }
  if (right < xs.length && xs[right] === x) {
    return values[right]!;
  }
  let left = after - 1;
  while (left >= 0 && Number.isNaN(values[left]!)) {
    left -= 1;
  }
  if (left < 0 || right >= xs.length) {
    return NaN;
  }
  const share = (x - xs[left]!) / (xs[right]! - xs[left]!);
  return values[left]! + share * (values[right]! - values[left]!);
}

/** The first index whose `x` is not below; the length when there is none. */
export function firstAtLeast(xs: Float64Array, x: number): number {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle]! < x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** The place nearest to `x` where the series has a value; -1 before its first and after its last. */
export function nearestPlace(xs: Float64Array, values: Float32Array, x: number): number {
  let right = firstAtLeast(xs, x);
  let left = right - 1;
  while (right < xs.length && Number.isNaN(values[right]!)) {
    right += 1;
  }
  while (left >= 0 && Number.isNaN(values[left]!)) {
    left -= 1;
  }
  if (right === xs.length || (left < 0 && xs[right]! > x)) {
    return -1;
  }
  return left >= 0 && x - xs[left]! < xs[right]! - x ? left : right;
}

/**
 * Which part of a series lies between two ends of `xs`, from its first index to before its last: with the values beyond
 * them that its line comes from and leads to, which may be far where some between are missing.
 */
export function partBetween(xs: Float64Array, values: Float32Array, start: number, end: number): [from: number, to: number] {
  let from = Math.max(0, firstAtLeast(xs, start) - 1);
  while (from > 0 && Number.isNaN(values[from]!)) {
    from -= 1;
  }
  let to = Math.min(xs.length, firstAtLeast(xs, end) + 1);
  while (to < xs.length && Number.isNaN(values[to - 1]!)) {
    to += 1;
  }
  return [from, to];
}
