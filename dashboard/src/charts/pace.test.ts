import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pace } from "./pace";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the first news is shown at once, and what comes meanwhile together", async () => {
  const work = vi.fn(async () => undefined);
  const pace = new Pace(work);

  for (let i = 0; i < 5; i += 1) {
    pace.ask();
  }
  expect(work).toHaveBeenCalledTimes(1);
  pace.ask();
  await vi.advanceTimersByTimeAsync(249);
  expect(work).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(work).toHaveBeenCalledTimes(2);
});

test("slow work pauses for as long as it took", async () => {
  const work = vi.fn(() => new Promise<void>((resolve) => setTimeout(resolve, 1000)));
  const pace = new Pace(work);

  pace.ask();
  pace.ask();
  await vi.advanceTimersByTimeAsync(1999);
  expect(work).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(work).toHaveBeenCalledTimes(2);
});

test("nothing begins after the end", async () => {
  const work = vi.fn(async () => undefined);
  const pace = new Pace(work);

  pace.ask();
  pace.ask();
  pace.end();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(work).toHaveBeenCalledTimes(1);
});
