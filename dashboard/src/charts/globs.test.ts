import { expect, test } from "vitest";
import { chosenKeys, matches } from "./globs";

test("a star stands for anything and other signs for themselves", () => {
  expect(matches("train/*", "train/loss")).toBe(true);
  expect(matches("train/*", "val/train/loss")).toBe(false);
  expect(matches("a.b", "axb")).toBe(false);
  expect(matches("top?", "top5")).toBe(true);
  expect(matches("*", "line\nbreak")).toBe(true);
  expect(matches("f(x)[0]", "f(x)[0]")).toBe(true);
});

test("keys come in the order of the patterns, each once", () => {
  const keys = ["acc", "train/acc", "train/loss", "val/loss"];

  expect(chosenKeys(["val/*", "*loss", "none"], keys)).toEqual(["val/loss", "train/loss"]);
});

test("a name is a key also where not all keys are known", () => {
  expect(chosenKeys(["zeta", "*acc"], ["acc"], false)).toEqual(["zeta", "acc"]);
});
