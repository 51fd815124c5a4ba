import { expect, test } from "vitest";
import { csvText } from "./csv";

test("numbers keep every digit, and what is not there is empty", () => {
  const text = csvText(["step", "value"], [[0, 0.1], [1, null], [2, NaN], [3, -Infinity], [4, -0]]);

  expect(text).toBe("step,value\r\n0,0.1\r\n1,\r\n2,NaN\r\n3,-Infinity\r\n4,-0\r\n");
});

test("commas, quotes and line breaks stay inside their field", () => {
  expect(csvText(['a "b"', "c,d"], [["e\nf", "g"]])).toBe('"a ""b""","c,d"\r\n"e\nf",g\r\n');
});

test("a name that a spreadsheet would run as a formula is only a name", () => {
  expect(csvText(["run"], [["=1+1"], ["@x"], ["-y"]])).toBe("run\r\n'=1+1\r\n'@x\r\n'-y\r\n");
});
