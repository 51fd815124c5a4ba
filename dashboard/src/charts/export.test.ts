import { expect, test } from "vitest";
import { isSavedWhole, shownCsv } from "./export";
import { type Frame, NO_MARKS } from "./frames";

const FRAME: Frame = {
  metric: "loss",
  xs: new Float64Array([0, 10]),
  isExact: false,
  isSampled: false,
  pointCount: 40,
  leftOut: 0,
  series: [
    {
      id: "g",
      groupName: "model=big",
      runCount: 2,
      mean: new Float32Array([0.1, NaN]),
      min: new Float32Array([0, NaN]),
      max: new Float32Array([0.2, NaN]),
      deviation: null,
      marks: NO_MARKS,
      nonFiniteCount: 0,
    },
  ],
};

test("what a chart shows is saved without empty buckets and without digits that it does not have", () => {
  expect(shownCsv(FRAME, () => "model=big", "step")).toBe(
    "id,name,step,mean,min,max,std\r\ng,model=big,0,0.1,0,0.2,\r\n",
  );
});

test("points are saved one by one while they are few enough", () => {
  expect(isSavedWhole(FRAME)).toBe(true);
  expect(isSavedWhole({ ...FRAME, pointCount: 500_001 })).toBe(false);
});
