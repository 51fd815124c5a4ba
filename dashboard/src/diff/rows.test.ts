import { describe, expect, test } from "vitest";
import { isModelFile } from "./models";
import { type Comparison, found, metricText, paramText, rowsOf } from "./rows";

const RUN = { status: "FINISHED" as const, experiment: { id: "e", name: "e" } };
const NONE: Comparison = {
  baselineId: "a",
  totalKeys: 0,
  differingKeys: 0,
  runs: [{ id: "a", name: "first", ...RUN }, { id: "b", name: "second", ...RUN }, { id: "c", name: "third", ...RUN }],
  params: [],
  metrics: [],
  tags: [],
  source: [],
  patches: [null, null, null],
  environment: [],
  inputs: [],
  artifacts: [],
};

describe("a param in words", () => {
  test.each([
    [1, "INT", "1"],
    [1, "FLOAT", "1.0"],
    [1e-3, "FLOAT", "0.001"],
    ["NaN", "FLOAT", "NaN"],
    ["adam", "STRING", "adam"],
    ["1", "STRING", '"1"'],
    ["true", "STRING", '"true"'],
    [" x", "STRING", '" x"'],
    ["", "STRING", '""'],
    ["0.1.2", "STRING", "0.1.2"],
    [true, "BOOL", "true"],
    [null, "NULL", "null"],
    [[1, { a: 2 }], "JSON", '[1,{"a":2}]'],
  ] as const)("%j of type %s is %s", (value, type, text) => {
    expect(paramText(value, type)).toBe(text);
  });
});

test("numbers that are none have signs of their own", () => {
  expect([metricText("NaN"), metricText("Infinity"), metricText("-Infinity"), metricText(0.21312)]).toEqual(["NaN", "∞", "−∞", "0.2131"]);
});

test("a number and the same as text differ, and so does nothing", () => {
  const param = { key: "p", differs: true, values: [1, 1, null], types: ["INT", "FLOAT", null] } satisfies Comparison["params"][number];
  const [row] = rowsOf({ ...NONE, params: [param] }, true);

  expect([row!.isOther(1, 0), row!.isOther(2, 0), row!.isOther(0, 0)]).toEqual([true, true, false]);
  expect(row!.cell(2)).toBeNull();
});

test("a metric says how it stands to the baseline", () => {
  const metric: Comparison["metrics"][number] = {
    key: "loss",
    differs: true,
    last: [0.2, 0.1, null],
    delta: [0, -0.1, null],
    relativeDelta: [0, -0.5, null],
    goal: "MINIMIZE",
    bestLastRunId: "b",
    better: [null, true, null],
  };
  const [row] = rowsOf({ ...NONE, metrics: [metric] }, true);

  expect(row!.cell(0)).toMatchObject({ text: "0.2", verdict: null, note: null, isBest: false });
  expect(row!.cell(1)).toMatchObject({ text: "0.1", verdict: "better", note: { text: "−0.1", full: "−0.1, −50 % against the baseline" }, isBest: true });
  expect(row!.cell(2)).toBeNull();
});

test("a file names the first run with the same bytes", () => {
  const file = { path: "report.html", differs: true, digests: ["sha256:aaaaaaaaaaaa", "sha256:bbbbbbbbbbbb", "sha256:aaaaaaaaaaaa"] };
  const [row] = rowsOf({ ...NONE, artifacts: [file] }, true);

  expect([0, 1, 2].map((run) => row!.cell(run)!.sameAs)).toEqual([null, null, 0]);
  expect(row!.cell(0)!.text).toBe("aaaaaaaaaa");
});

test("models stay when only differences are wanted, other equal files go", () => {
  const equal = (path: string) => ({ path, differs: false, digests: ["sha256:a", "sha256:a", "sha256:a"] });
  const comparison = { ...NONE, artifacts: [equal("model/model.joblib"), equal("notes.txt")] };

  expect(rowsOf(comparison, true).map(({ key }) => key)).toEqual(["model/model.joblib"]);
  expect(rowsOf(comparison, false).map(({ key }) => key)).toEqual(["model/model.joblib", "notes.txt"]);
});

test("files of models are known by folder or ending", () => {
  expect(["model/MODEL.json", "models/a/b", "weights.pt", "best.safetensors"].every(isModelFile)).toBe(true);
  expect(["modelling.txt", "plots/cm.png", "remodel/x"].some(isModelFile)).toBe(false);
});

test("packages are apart from the rest of the environment and lose their prefix", () => {
  const environment = [
    { key: "package torch", differs: true, values: ["2.9", "2.8", "2.9"] },
    { key: "python", differs: true, values: ["3.12", "3.13", "3.12"] },
  ];
  expect(rowsOf({ ...NONE, environment }, true).map(({ section, key }) => [section, key])).toEqual([
    ["Environment", "python"],
    ["Packages", "torch"],
  ]);
});

test("a search looks at sections and keys", () => {
  const rows = rowsOf({ ...NONE, tags: [{ key: "Team", differs: true, values: ["a", "b", "c"] }] }, true);
  expect([found(rows, "team"), found(rows, "tags"), found(rows, "")].map((some) => some.length)).toEqual([1, 1, 1]);
  expect(found(rows, "nothing")).toEqual([]);
});
