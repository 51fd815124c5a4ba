import { expect, test } from "vitest";
import { bytesOf, float32Column, float64Column, int64Column } from "./columns";

const base64 = (column: Uint8Array | Float32Array | Float64Array | BigInt64Array): string =>
  btoa(String.fromCharCode(...new Uint8Array(column.buffer)));

test("a column of 32 bits comes back as it was, NaN and infinities included", () => {
  const values = new Float32Array([0, -0, 0.1, NaN, Infinity, -Infinity, 3.4e38, 1e-45]);

  expect(float32Column(base64(values))).toEqual(values);
});

test("a column of 64 bits comes back as it was", () => {
  const values = new Float64Array([0.1, NaN, -Infinity, 5e-324, 2 ** 53]);

  expect(float64Column(base64(values))).toEqual(values);
});

test("a column of integers comes back as it was, beyond what a double holds", () => {
  const steps = new BigInt64Array([0n, -1n, 2n ** 63n - 1n]);

  expect(int64Column(base64(steps))).toEqual(steps);
});

test("an empty text is an empty column", () => {
  expect(float32Column("")).toEqual(new Float32Array());
  expect(float64Column("")).toEqual(new Float64Array());
});

test("half a number is refused", () => {
  expect(() => float32Column(btoa("abcde"))).toThrow(RangeError);
  expect(() => float64Column(btoa("abcd"))).toThrow(RangeError);
});

test("without the browser's own decoder the bytes are the same", () => {
  const every = Uint8Array.from({ length: 256 }, (_, i) => i);
  const text = base64(every);

  expect(bytesOf(text, undefined)).toEqual(every);
});

test("the browser's own decoder is used where there is one", () => {
  expect(bytesOf("ignored", () => new Uint8Array([7]))).toEqual(new Uint8Array([7]));
});
