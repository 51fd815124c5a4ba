"""Frames of metrics are what a slow reading of the same points by hand gives, for random series of any kind."""

import base64
import math
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from statistics import mean, stdev
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from db.access import Role
from tests.conftest import Client, People, new_id

START_MS = 1_700_000_000_000
KEYS = ("loss", "epoch")
KINDS: dict[str, Callable[[float], bool]] = {
    "nanX": math.isnan,
    "infinityX": lambda value: value == math.inf,
    "negativeInfinityX": lambda value: value == -math.inf,
}

FRAMES = """
    query ($select: RunSelection, $metrics: [String!]!, $x: AxisInput, $buckets: Int! = 500, $groupBy: [RunColumn!],
           $maxSeries: Int! = 1000, $encoding: ColumnEncoding! = JSON) {
      metricFrames(select: $select, metrics: $metrics, x: $x, buckets: $buckets, groupBy: $groupBy,
                   maxSeries: $maxSeries, encoding: $encoding) {
        metric x bucketCount bucketWidth exact sampled totalPoints truncatedSeries
        series {
          runId runCount mean min max last std
          group { key value }
          nonFinite { count x nanX infinityX negativeInfinityX }
        }
      }
    }
"""
LOG = "mutation ($input: LogMetricsInput!) { logMetrics(input: $input) { __typename } }"
FINISH = "mutation ($id: ID!) { finishRun(input: { runId: $id }) { __typename } }"
RESUME = "mutation ($input: ResumeRunInput!) { resumeRun(input: $input) { __typename } }"


@dataclass(frozen=True)
class Point:
    """A point as it was logged; `place` counts what the run was sent."""

    attempt: int
    place: int
    step: int
    time: int
    value: float


Series: TypeAlias = dict[str, list[Point]]
Line: TypeAlias = list[tuple[float, float]]  # x and value, by x


def counted(points: list[Point]) -> list[Point]:
    """The points that count, by step and arrival: of each step those of its newest attempt."""
    newest: dict[int, int] = {}
    for point in points:
        newest[point.step] = max(newest.get(point.step, 0), point.attempt)
    return sorted((one for one in points if one.attempt == newest[one.step]), key=lambda one: (one.step, one.place))


def line(run: Series, kind: str, low: float, high: float) -> Line:
    """The loss of the run over an axis."""
    points = counted(run["loss"])
    if kind == "STEP":
        over: Line = [(one.step, one.value) for one in points]
    elif kind == "WALL_TIME":
        over = [(one.time, one.value) for one in points]
    elif kind == "RELATIVE_TIME":
        every = [one for of_key in run.values() for one in of_key]
        first = {one.attempt: min(other.time for other in every if other.attempt == one.attempt) for one in every}
        over = [(one.time - first[one.attempt], one.value) for one in points]
    else:
        other = {one.step: one.value for one in counted(run["epoch"])}
        over = [(other[one.step], one.value) for one in points if one.step in other and math.isfinite(other[one.step])]
    return [(x, value) for x, value in sorted(over, key=lambda point: point[0]) if low <= x <= high]


def round_numbers(span: Fraction, is_whole: bool) -> Iterator[Fraction]:
    """Widths of buckets, from small ones on."""
    power = -1 if is_whole or span == 0 else math.floor(math.log10(span)) - 5
    for exponent in count(power):
        for digits in (10, 12, 15, 20, 25, 30, 40, 50, 60, 80):
            width = digits * Fraction(10) ** exponent
            if not is_whole or width.denominator == 1:
                yield width


def edges(lines: list[Line], most: int, is_whole: bool) -> tuple[list[float], float | None]:
    """Where the buckets begin, and how wide they are."""
    found = sorted({x for one in lines for x, _ in one})
    if len(found) <= most:
        return found, None
    low, high = Fraction(found[0]), Fraction(found[-1])
    for width in round_numbers(high - low, is_whole):
        first, last = math.floor(low / width), math.floor(high / width)
        if high - low <= width * (most - 1) and last - first < most:
            return [float(place * width) for place in range(first, last + 1)], float(width)
    raise AssertionError


def single(value: float) -> float:
    """The value as 32 bits hold it."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def buckets_of(one: Line, starts: list[float]) -> list[list[float]]:
    """The values of each bucket, in order."""
    found: list[list[float]] = [[] for _ in starts]
    for x, value in one:
        found[max(place for place, start in enumerate(starts) if start <= x)].append(value)
    return found


def shown(values: list[float | str]) -> list[float]:
    return [float(value) for value in values]


def assert_same(found: list[float | str] | None, expected: list[float]) -> None:
    assert found is not None
    assert shown(found) == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True)


def value_of(chance: random.Random) -> float:
    return chance.choice([math.nan, math.inf, -math.inf]) if chance.random() < 0.1 else chance.gauss(0, 10)


async def logged(client: Client, chance: random.Random) -> tuple[str, Series]:
    """A run of several attempts, each by a writer of its own, with steps in any order."""
    run_id = await client.create_run(params=[{"key": "seed", "value": chance.randrange(3)}])
    told: Series = {key: [] for key in KEYS}
    places, low, spread = count(), 0, chance.choice([1, 3, 64, 10**6])
    for attempt in range(1, chance.choice([1, 1, 2, 3]) + 1):
        if attempt > 1:
            await client.ask(FINISH, id=run_id)
            await client.ask(RESUME, input={"runId": run_id, "attemptId": new_id()})
        blocks = []
        for seq in range(chance.randrange(1, 4)):
            keys = chance.choice([KEYS, KEYS, ("loss",), ("epoch",)])
            steps = [(low + chance.randrange(60)) * spread for _ in range(chance.randrange(1, 30))]
            if chance.random() < 0.5:
                steps = sorted(set(steps))
            times = [START_MS + attempt * 7_000 + chance.randrange(5_000) for _ in steps]
            values = [[value_of(chance) for _ in steps] for _ in keys]
            blocks.append(
                {
                    "seq": seq,
                    "keys": keys,
                    "steps": steps,
                    "times": times,
                    "values": [as_json(each) for row in values for each in row],
                }
            )
            for key, row in zip(keys, values, strict=True):
                for step, time, value in zip(steps, times, row, strict=True):
                    told[key].append(Point(attempt, next(places), step, time, value))
        answer = await client.ask(LOG, input={"runId": run_id, "writerId": str(uuid4()), "blocks": blocks})
        assert answer["logMetrics"]["__typename"] == "LogMetricsPayload"
        low += chance.randrange(40)
    return run_id, told


def as_json(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def check(frame: dict[str, Any], lines: dict[str, Line], most: int, is_whole: bool) -> None:
    """The frame is that of the lines."""
    there = {run_id: one for run_id, one in lines.items() if one}
    starts, width = edges(list(there.values()), most, is_whole)
    assert shown(frame["x"]) == starts
    assert (frame["bucketCount"], frame["bucketWidth"]) == (len(starts), width)
    assert [series["runId"] for series in frame["series"]] == list(there)
    is_exact = True
    for series in frame["series"]:
        inside = buckets_of(there[series["runId"]], starts)
        finite = [[value for value in values if math.isfinite(value)] for values in inside]
        assert_same(series["mean"], [mean(values) if values else math.nan for values in finite])
        assert_same(series["min"], [min(values, default=math.nan) for values in finite])
        assert_same(series["max"], [max(values, default=math.nan) for values in finite])
        assert_same(series["last"], [values[-1] if values else math.nan for values in finite])
        odd = [len(values) - len(left) for values, left in zip(inside, finite, strict=True)]
        assert series["nonFinite"]["count"] == sum(odd)
        assert shown(series["nonFinite"]["x"]) == [x for x, number in zip(starts, odd, strict=True) if number]
        for name, is_kind in KINDS.items():
            assert shown(series["nonFinite"][name]) == [
                x for x, values in zip(starts, inside, strict=True) if any(map(is_kind, values))
            ]
        is_exact = is_exact and all(len(values) <= 1 for values in inside)
    assert (frame["exact"], frame["sampled"]) == (is_exact, False)
    assert frame["totalPoints"] == sum(map(len, there.values()))


@pytest.mark.parametrize("seed", range(6))
async def test_random_series_are_in_their_buckets(client: Client, seed: int) -> None:
    chance = random.Random(seed)
    runs = dict([await logged(client, chance) for _ in range(4)])
    for kind in ("STEP", "RELATIVE_TIME", "WALL_TIME", "METRIC"):
        every = [x for run in runs.values() for x, _ in line(run, kind, -math.inf, math.inf)]
        for most in (2, chance.randrange(3, 40), 2_000):
            for low, high in ((-math.inf, math.inf), tuple(sorted(chance.sample(every, 2)))):
                axis = {"kind": kind, "metric": "epoch" if kind == "METRIC" else None}
                bounds = {name: each for name, each in (("min", low), ("max", high)) if math.isfinite(each)}
                asked = {"metrics": ["loss"], "x": {**axis, **bounds}, "buckets": most}

                [frame] = (await client.ask(FRAMES, select={"runIds": list(runs)}, **asked))["metricFrames"]

                lines = {run_id: line(run, kind, low, high) for run_id, run in runs.items()}
                check(frame, lines, most, kind != "METRIC")


async def test_groups_are_the_means_of_their_runs(client: Client) -> None:
    chance = random.Random(7)
    runs = dict([await logged(client, chance) for _ in range(9)])
    asked = {"metrics": ["loss"], "buckets": 20, "groupBy": [{"area": "PARAM", "key": "seed"}]}

    [alone] = (await client.ask(FRAMES, select={"runIds": list(runs)}, metrics=["loss"], buckets=20))["metricFrames"]
    [frame] = (await client.ask(FRAMES, select={"runIds": list(runs)}, **asked))["metricFrames"]

    params = "query ($id: ID!) { run(id: $id) { params { nodes { value } } } }"
    seed_of = {run_id: (await client.ask(params, id=run_id))["run"]["params"]["nodes"][0]["value"] for run_id in runs}
    groups = [series["group"][0]["value"] for series in frame["series"]]
    assert groups == sorted({seed_of[series["runId"]] for series in alone["series"]})
    assert frame["x"] == alone["x"]
    for series, seed in zip(frame["series"], groups, strict=True):
        members = [shown(one["mean"]) for one in alone["series"] if seed_of[one["runId"]] == seed]
        inside = [[value for value in column if not math.isnan(value)] for column in zip(*members, strict=True)]
        assert (series["runId"], series["runCount"], series["last"]) == (None, len(members), None)
        assert_same(series["mean"], [mean(values) if values else math.nan for values in inside])
        assert shown(series["std"]) == pytest.approx(
            [stdev(values) if len(values) > 1 else math.nan for values in inside], rel=1e-4, abs=1e-5, nan_ok=True
        )
        assert_same(series["min"], [min(values, default=math.nan) for values in inside])
        assert_same(series["max"], [max(values, default=math.nan) for values in inside])


async def sent(client: Client, values: list[float]) -> str:
    """A run with a loss at consecutive steps."""
    run_id, writer_id = await client.create_run(), str(uuid4())
    for start in range(0, len(values), 10_000):
        part = values[start : start + 10_000]
        block = {
            "seq": start // 10_000,
            "keys": ["loss"],
            "steps": list(range(start, start + len(part))),
            "times": [START_MS] * len(part),
            "values": part,
        }
        await client.ask(LOG, input={"runId": run_id, "writerId": writer_id, "blocks": [block]})
    return run_id


async def test_edges_stay_where_they_are_while_one_pans(client: Client) -> None:
    await sent(client, [step / 10 for step in range(20_000)])
    found = []
    for low in (0, 1_111, 5_000, 9_999):
        bounds = {"min": low, "max": low + 9_000}
        [frame] = (await client.ask(FRAMES, metrics=["loss"], x=bounds, buckets=100))["metricFrames"]
        [series] = frame["series"]
        found.append(dict(zip(frame["x"], series["mean"], strict=True)))
        assert all(x % frame["bucketWidth"] == 0 for x in frame["x"])
    first, second = found[0], found[1]
    inner = sorted(first.keys() & second.keys())[1:-1]
    assert len(inner) > 60
    assert [first[x] for x in inner] == [second[x] for x in inner]


async def test_columns_are_little_endian_floats_in_base64(client: Client) -> None:
    await sent(client, [1.0, float("1e300"), 0.5])
    [frame] = (await client.ask(FRAMES, metrics=["loss"], encoding="BASE64"))["metricFrames"]
    [series] = frame["series"]
    assert struct.unpack("<3d", base64.b64decode(frame["x"])) == (0.0, 1.0, 2.0)
    assert struct.unpack("<3f", base64.b64decode(series["mean"])) == (1.0, math.inf, 0.5)
    assert (series["std"], series["group"], frame["exact"]) == (None, None, True)


async def test_a_long_series_keeps_its_extremes(client: Client) -> None:
    values = [math.sin(step / 500) for step in range(30_000)]
    values[12_345], values[23_456] = 1e6, -1e6
    run_id = await sent(client, values)
    [frame] = (await client.ask(FRAMES, select={"runIds": [run_id]}, metrics=["loss"], buckets=50))["metricFrames"]
    [series] = frame["series"]
    assert (frame["totalPoints"], frame["exact"], frame["bucketCount"] <= 50) == (30_000, False, True)
    assert (max(series["max"]), min(series["min"])) == (1e6, -1e6)
    assert series["max"].index(1e6) == 12_345 // frame["bucketWidth"]


async def test_runs_beyond_the_bound_are_told(client: Client) -> None:
    runs = [await sent(client, [float(number)]) for number in range(3)]
    [frame] = (await client.ask(FRAMES, metrics=["loss"], maxSeries=2))["metricFrames"]
    assert (len(frame["series"]), frame["truncatedSeries"]) == (2, 1)
    assert [series["runId"] for series in frame["series"]] == runs[:0:-1]


async def test_several_metrics_come_in_the_order_asked(client: Client) -> None:
    await sent(client, [1.0])
    frames = (await client.ask(FRAMES, metrics=["none", "loss"]))["metricFrames"]
    assert [(frame["metric"], len(frame["series"]), frame["exact"]) for frame in frames] == [
        ("none", 0, True),
        ("loss", 1, True),
    ]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({"buckets": 1}, "buckets"),
        ({"buckets": 2_001}, "buckets"),
        ({"maxSeries": 0}, "maxSeries"),
        ({"metrics": []}, "metrics"),
        ({"metrics": ["a"] * 51}, "metrics"),
        ({"x": {"kind": "METRIC"}}, "x.metric"),
        ({"x": {"metric": "loss"}}, "x.metric"),
        ({"x": {"min": 2, "max": 1}}, "x.max"),
        ({"groupBy": [{"area": "DATASET", "key": "name"}], "select": None, "maxSeries": 1}, "groupBy[0]"),
    ],
)
async def test_what_cannot_be_drawn_is_refused(client: Client, asked: dict[str, Any], path: str) -> None:
    error = await client.refused(FRAMES, **{"metrics": ["loss"], "select": {"runIds": [new_id()]}, **asked})
    assert (error["extensions"]["code"], error["extensions"]["path"]) == ("VALIDATION", path)


async def test_only_what_is_seen_is_drawn(people: People) -> None:
    project = await people.project()
    editor, logger = await people.member(project, Role.EDITOR), await people.member(project, Role.LOGGER)
    of_editor, of_logger = await sent(editor, [1.0]), await sent(logger, [2.0])

    [frame] = (await logger.ask(FRAMES, metrics=["loss"]))["metricFrames"]

    assert [series["runId"] for series in frame["series"]] == [of_logger]
    refused = await logger.refused(FRAMES, select={"runIds": [of_editor]}, metrics=["loss"])
    assert refused["extensions"]["code"] == "NOT_FOUND"


async def test_a_chart_goes_on_where_its_frame_ends(client: Client) -> None:
    run_id = await sent(client, [1.0, 2.0])
    document = """
        query ($id: ID!) {
          metricFrames(select: { runIds: [$id] }, metrics: ["loss"]) { series { asOf } }
          series(select: { runIds: [$id] }, keys: ["loss"]) { asOf }
        }
    """
    answer = await client.ask(document, id=run_id)
    assert answer["metricFrames"][0]["series"] == [{"asOf": answer["series"][0]["asOf"]}]
