"""Series and summaries are what was logged, in order, and long ones keep their extremes."""

from uuid import UUID, uuid4

import numpy as np
import pytest

from db import series, summaries
from db.access import Role, Scope
from db.errors import Invalid
from db.packing import Floats
from db.series import Curve, XAxis
from tests.metrics.conftest import START_MS, Lab, block


async def curve(lab: Lab, run_id: UUID, key: str = "loss", **more: object) -> Curve:
    """The only curve there is."""
    [found] = await series.read(lab.pool, lab.scope, [run_id], [key], **more)  # type: ignore[arg-type]
    return found


async def long_run(lab: Lab, values: Floats, *, compact: bool = True, per_block: int = 10_000) -> UUID:
    """A run with one series of these values at the steps 0, 1, 2, ..."""
    run_id, writer_id = await lab.run(), uuid4()
    for seq, first in enumerate(range(0, len(values), per_block)):
        part = values[first : first + per_block]
        await lab.send(run_id, writer_id, block(seq, [part.tolist()], steps=range(first, first + len(part))))
    if compact:
        await lab.compact(run_id)
    return run_id


async def test_points_are_in_order_of_step_then_receipt(lab: Lab) -> None:
    run_id, one, other = await lab.run(), uuid4(), uuid4()
    await lab.send(run_id, one, block(0, [[1, 2, 3]], steps=[5, 1, 5]))
    await lab.send(run_id, other, block(0, [[4, 5]], steps=[5, 0]))
    await lab.send(run_id, one, block(1, [[6], [0]], keys=("loss", "acc"), steps=[5]))
    for _ in range(2):
        found = await curve(lab, run_id)
        assert found.steps.tolist() == [0, 1, 5, 5, 5, 5]
        assert found.values.tolist() == [5, 2, 1, 3, 4, 6]
        assert found.x.tolist() == found.steps.tolist()
        await lab.compact(run_id)


async def test_runs_and_keys_come_as_asked(lab: Lab) -> None:
    runs = [await lab.run() for _ in range(3)]
    for run_id in runs[:2]:
        await lab.send(run_id, uuid4(), block(0, keys=("a", "b", "c")))
    found = await series.read(lab.pool, lab.scope, [runs[1], runs[2], runs[0]], ["c", "missing", "a"])
    assert [(one.run_id, one.key) for one in found] == [
        (runs[1], "c"), (runs[1], "a"), (runs[0], "c"), (runs[0], "a"),
    ]  # fmt: skip
    assert [one.values.tolist() for one in found] == [[0.25], [0.0], [0.25], [0.0]]


async def test_the_newest_attempt_counts_where_attempts_overlap(lab: Lab) -> None:
    run_id = await lab.run()
    await lab.send(run_id, uuid4(), block(0, [[0, 1, 2, 3, 4, 5]]))
    await lab.finish(run_id)
    await lab.resume(run_id)
    await lab.send(run_id, uuid4(), block(0, [[30, 40, 41]], steps=[3, 4, 4]))
    for _ in range(2):
        found = await curve(lab, run_id)
        assert found.steps.tolist() == [0, 1, 2, 3, 4, 4, 5]
        assert found.values.tolist() == [0, 1, 2, 30, 40, 41, 5]
        assert found.attempts.tolist() == [1, 1, 1, 2, 2, 2, 1]
        assert (found.count, found.is_exact) == (7, True)
        assert (await curve(lab, run_id, attempt=1)).values.tolist() == [0, 1, 2, 3, 4, 5]
        assert (await curve(lab, run_id, attempt=2)).values.tolist() == [30, 40, 41]
        assert await series.read(lab.pool, lab.scope, [run_id], ["loss"], attempt=3) == []
        [summary] = (await summaries.page(lab.pool, lab.scope, [run_id]))[run_id]
        assert (summary.count, summary.first, summary.last, summary.last_step) == (9, 0, 5, 5)
        await lab.compact(run_id)


async def test_time_axes(lab: Lab) -> None:
    run_id = await lab.run()
    first = START_MS
    await lab.send(run_id, uuid4(), block(0, [[1], [1]], keys=("loss", "early"), steps=[0], times=[first]))
    await lab.send(run_id, uuid4(), block(0, [[2, 3]], steps=[9, 8], times=[first + 500, first + 1500]))
    await lab.finish(run_id)
    await lab.resume(run_id)
    await lab.send(run_id, uuid4(), block(0, [[4]], keys=("early",), steps=[0], times=[first + 10_000]))
    await lab.send(run_id, uuid4(), block(0, [[5]], steps=[10], times=[first + 10_700]))
    for _ in range(2):
        relative = await curve(lab, run_id, x=XAxis.RELATIVE_TIME)
        assert (relative.x.tolist(), relative.values.tolist()) == ([0, 500, 700, 1500], [1, 2, 5, 3])
        wall = await curve(lab, run_id, x=XAxis.WALL_TIME)
        assert wall.x.tolist() == [first, first + 500, first + 1500, first + 10_700]
        assert wall.x.tolist() == wall.times.tolist()
        assert wall.values.tolist() == [1, 2, 3, 5]
        await lab.compact(run_id)


def noisy(n: int, *, odd: bool = False) -> Floats:
    """Values with lone spikes."""
    values = np.sin(np.arange(n) / 1000) + np.random.default_rng(1).standard_normal(n) / 100
    values[n // 3] = 1e6
    values[n // 7] = -1e6
    if odd:
        values[n // 5], values[n // 2] = np.nan, np.inf
    return values


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize(
    ("n", "compact", "max_points"),
    [(900, False, 100), (30_000, True, 1_000), (70_000, True, 200), (70_000, True, 100), (70_000, False, 100)],
)
async def test_a_long_series_keeps_its_extremes(lab: Lab, n: int, compact: bool, max_points: int, odd: bool) -> None:
    values = noisy(n, odd=odd)
    run_id = await long_run(lab, values, compact=compact)
    found = await curve(lab, run_id, max_points=max_points)
    assert (found.count, found.is_exact) == (n, False)
    assert max_points / 4 < len(found.steps) <= max_points
    assert found.steps.tolist() == sorted(set(found.steps.tolist()))
    assert np.array_equal(found.values, values[found.steps], equal_nan=True)
    assert {0, n - 1, n // 3, n // 7} <= set(found.steps.tolist())
    assert {*np.flatnonzero(~np.isfinite(values))} <= set(found.steps.tolist())
    assert found.times.tolist() == [START_MS + step for step in found.steps.tolist()]
    again = await curve(lab, run_id, max_points=max_points)
    assert again.steps.tolist() == found.steps.tolist()


async def test_every_group_keeps_first_last_lowest_and_highest(lab: Lab) -> None:
    values = noisy(4_096)
    run_id = await long_run(lab, values)
    found = await curve(lab, run_id, max_points=1_024)
    size = 16  # 256 groups of 16 points, 4 kept of each
    expected = set()
    for first in range(0, 4_096, size):
        group = values[first : first + size]
        expected |= {first, first + size - 1, first + int(group.argmin()), first + int(group.argmax())}
    assert set(found.steps.tolist()) == expected


async def test_groups_stay_where_they_are_while_a_series_grows(lab: Lab) -> None:
    values = noisy(3_000)
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0, [values[:2_100].tolist()]))
    early = await curve(lab, run_id, max_points=400)
    await lab.send(run_id, writer_id, block(1, [values[2_100:].tolist()], steps=range(2_100, 3_000)))
    late = await curve(lab, run_id, max_points=400)
    whole_groups = 2_100 // 32 * 32
    assert [step for step in late.steps if step < whole_groups] == [step for step in early.steps if step < whole_groups]


async def test_a_short_series_is_answered_whole(lab: Lab) -> None:
    run_id = await long_run(lab, noisy(100))
    found = await curve(lab, run_id, max_points=100)
    assert (len(found.steps), found.is_exact) == (100, True)
    with pytest.raises(Invalid) as refused:
        await curve(lab, run_id, max_points=4)
    assert refused.value.path == "maxPoints"


async def test_a_long_series_is_drawn_from_its_tiers_only_when_in_order(lab: Lab) -> None:
    values = noisy(70_000)
    in_order = await long_run(lab, values)
    shuffled, writer_id = await lab.run(), uuid4()
    for seq, first in enumerate([60_000, 0, 10_000, 50_000, 20_000, 40_000, 30_000]):
        part = values[first : first + 10_000]
        await lab.send(shuffled, writer_id, block(seq, [part.tolist()], steps=range(first, first + 10_000)))
    await lab.send(shuffled, uuid4(), block(0, [[9.0]], steps=[5]))
    await lab.compact(shuffled)
    tail = noisy(3)
    await lab.send(in_order, uuid4(), block(0, [tail.tolist()], steps=[70_000, 70_001, 70_002]))
    for run_id, count in ((in_order, 70_003), (shuffled, 70_001)):
        found = await curve(lab, run_id, max_points=1_000)
        assert (found.count, len(found.steps) <= 1_000) == (count, True)
        assert {0, 70_000 // 3, 70_000 // 7} <= set(found.steps.tolist())
        assert np.array_equal(np.diff(found.steps) > 0, np.ones(len(found.steps) - 1, bool))
    assert (await curve(lab, in_order, max_points=1_000)).steps[-1] == 70_002


async def test_a_long_series_is_the_same_of_chunks_without_a_coarse_tier(lab: Lab) -> None:
    run_id = await long_run(lab, noisy(70_000, odd=True))
    found = await curve(lab, run_id, max_points=100)
    await overwrite(lab, run_id, "coarse_tier = null", "n > 5000 and coarse_tier is not null")  # as of old
    again = await curve(lab, run_id, max_points=100)
    assert again.steps.tolist() == found.steps.tolist()
    assert np.array_equal(again.values, found.values, equal_nan=True)


async def test_of_a_very_long_series_only_the_coarse_tiers_are_read(lab: Lab) -> None:
    run_id = await long_run(lab, noisy(70_000))
    coarse, fine = await curve(lab, run_id, max_points=100), await curve(lab, run_id, max_points=500)
    await overwrite(lab, run_id, "tier = decode(repeat('00', length(tier)), 'hex')", "coarse_tier is not null")
    again = await curve(lab, run_id, max_points=100)
    assert (again.steps.tolist(), again.values.tolist()) == (coarse.steps.tolist(), coarse.values.tolist())
    assert (await curve(lab, run_id, max_points=500)).values.tolist() != fine.values.tolist()


async def overwrite(lab: Lab, run_id: UUID, change: str, which: str) -> None:
    """Change what chunks of the run hold, which nobody may do."""
    async with lab.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        changed = await conn.execute(f"update chunk set {change} where run_id = $1 and {which}", run_id)
    assert changed != "UPDATE 0"


async def test_some_steps_of_a_series_are_those_of_the_whole(lab: Lab) -> None:
    run_id, writers = await lab.run(), [uuid4(), uuid4()]
    chance = np.random.default_rng(5)
    for seq in range(12):
        if seq == 6:
            await lab.compact(run_id)
            await lab.finish(run_id)
            await lab.resume(run_id)
            writers = [uuid4(), uuid4()]
        for place, writer_id in enumerate(writers):
            steps = sorted(chance.integers(0, 40, 3).tolist()) if place else [seq * 3, seq * 3 + 1, seq * 3 + 2]
            await lab.send(run_id, writer_id, block(seq % 6, [[seq, float("nan"), -seq]], steps=steps))
    for _ in range(2):
        for x in XAxis:
            whole = await curve(lab, run_id, x=x)
            for low, high in ((0, 39), (7, 7), (5, 30), (38, 60)):
                found = await curve(lab, run_id, x=x, low_step=low, high_step=high)
                inside = (whole.steps >= low) & (whole.steps <= high)
                assert (found.count, found.is_exact) == (inside.sum(), True)
                for name in ("steps", "times", "x", "values", "attempts"):
                    assert np.array_equal(getattr(found, name), getattr(whole, name)[inside], equal_nan=True)
        assert await series.read(lab.pool, lab.scope, [run_id], ["loss"], low_step=1_000) == []
        await lab.compact(run_id)
    with pytest.raises(Invalid) as refused:
        await curve(lab, run_id, low_step=5, high_step=4)
    assert refused.value.path == "toStep"


@pytest.mark.parametrize(("low", "high"), [(0, 69_999), (10_001, 60_003), (8_192, 16_383), (23_300, 23_400)])
async def test_some_steps_of_a_long_series_keep_their_extremes(lab: Lab, low: int, high: int) -> None:
    values = noisy(70_000, odd=True)
    run_id = await long_run(lab, values)
    found = await curve(lab, run_id, low_step=low, high_step=high, max_points=100)
    assert (found.count, found.is_exact) == (high - low + 1, False)
    inside = values[low : high + 1]
    lowest, highest = (
        low + int(np.nanargmin(inside)),
        low + int(np.where(np.isfinite(inside), inside, -np.inf).argmax()),
    )
    assert {low, high, lowest, highest, *(low + np.flatnonzero(~np.isfinite(inside)))} <= set(found.steps.tolist())
    assert found.steps.tolist() == sorted(set(found.steps.tolist()))
    assert (len(found.steps) <= 100, found.steps[0], found.steps[-1]) == (True, low, high)
    assert np.array_equal(found.values, values[found.steps], equal_nan=True)
    assert (await curve(lab, run_id, low_step=low, high_step=high, max_points=100)).steps.tolist() == (
        found.steps.tolist()
    )


async def test_a_long_series_that_was_resumed_shows_the_newest_attempt(lab: Lab) -> None:
    values, newer = noisy(40_000), noisy(30_000) / 2
    values[36_000] = 1e9  # the newer attempt has this step too
    run_id = await long_run(lab, values)
    await lab.finish(run_id)
    await lab.resume(run_id)
    writer_id = uuid4()
    for seq, first in enumerate(range(0, 30_000, 10_000)):
        part = newer[first : first + 10_000]
        await lab.send(run_id, writer_id, block(seq, [part.tolist()], steps=range(35_000 + first, 45_000 + first)))
    expected = np.concatenate([values[:35_000], newer])
    for x in XAxis:
        for _ in range(2):
            found = await curve(lab, run_id, x=x, max_points=200)
            assert (found.count, len(found.steps) <= 200) == (65_000, True)
            assert found.x.tolist() == sorted(found.x.tolist())
            assert np.array_equal(found.values, expected[found.steps])
            assert found.attempts.tolist() == (1 + (found.steps >= 35_000)).tolist()
            assert {0, 40_000 // 3, 40_000 // 7, 45_000, 64_999} <= set(found.steps.tolist())
            await lab.compact(run_id)


async def test_times_come_when_they_are_asked_for(lab: Lab) -> None:
    run_id = await long_run(lab, noisy(1_000))
    for x in XAxis:
        found = await curve(lab, run_id, x=x, times=False)
        assert len(found.times) == (0 if x is XAxis.STEP else 1_000)
        assert (await curve(lab, run_id, x=x)).times.tolist() == [START_MS + step for step in range(1_000)]


async def test_a_request_that_would_read_too_much_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await long_run(lab, noisy(1_000))
    monkeypatch.setattr(series, "POINTS_ANSWERED_MAX", 999)
    monkeypatch.setattr(series, "POINTS_READ_MAX", 99)
    for max_points, limit in ((None, "999 points"), (500, "99 points")):
        with pytest.raises(Invalid) as refused:
            await curve(lab, run_id, max_points=max_points)
        assert refused.value.limit == limit


async def test_many_series_are_read_in_parts_that_fit_into_memory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [await long_run(lab, noisy(1_000) + number) for number in range(5)]
    monkeypatch.setattr(series, "POINTS_AT_ONCE", 2_500)
    found = await series.read(lab.pool, lab.scope, runs, ["loss"], x=XAxis.RELATIVE_TIME)
    assert [one.run_id for one in found] == runs
    assert [one.values[0] - found[0].values[0] for one in found] == pytest.approx([0, 1, 2, 3, 4])


async def test_summaries_come_in_pages_by_key(lab: Lab) -> None:
    run_id, other = await lab.run(), await lab.run()
    keys = ["val/loss", "val/acc", "train/loss", "Z", "é", "a_b", "a%b"]
    await lab.send(run_id, uuid4(), block(0, keys=keys[:4]))
    await lab.compact(run_id)
    await lab.send(run_id, uuid4(), block(0, keys=keys[2:]))
    await lab.send(other, uuid4(), block(0, keys=["val/loss"]))

    async def page(**more: object) -> list[str]:
        found = await summaries.page(lab.pool, lab.scope, [run_id, other], **more)  # type: ignore[arg-type]
        return [summary.key for summary in found[run_id]]

    assert await page() == sorted(keys)
    assert await page(limit=3) == sorted(keys)[:3]
    assert await page(limit=2, after=sorted(keys)[2]) == sorted(keys)[3:5]
    assert await page(prefix="val/") == ["val/acc", "val/loss"]
    assert await page(prefix="a_") == ["a_b"]
    assert await page(prefix="val/", after="val/acc") == ["val/loss"]
    assert await summaries.count(lab.pool, lab.scope, run_id, "") == len(keys)
    assert await summaries.count(lab.pool, lab.scope, run_id, "val/") == 2
    latest = await summaries.latest(lab.pool, lab.scope, [run_id, other])
    assert latest[run_id]["train/loss"].count == 2
    assert set(latest[other]) == {"val/loss"}


async def test_a_summary_tells_the_extremes_and_where_they_are(lab: Lab) -> None:
    run_id = await lab.run()
    nan, inf = float("nan"), float("inf")
    await lab.send(
        run_id, uuid4(), block(0, [[4, -2, nan, 7, -2, inf], [nan] * 6], keys=("a", "b"), steps=[9, 3, 1, 6, 2, 8])
    )
    for _ in range(2):
        found = (await summaries.latest(lab.pool, lab.scope, [run_id]))[run_id]
        a, b = found["a"], found["b"]
        assert (a.count, a.non_finite, a.last, a.last_step) == (6, 2, 4, 9)
        assert (a.min, a.min_step, a.max, a.max_step) == (-2, 2, 7, 6)
        assert np.isnan(a.first)
        assert (b.count, b.non_finite, b.min, b.min_step, b.max, b.max_step) == (6, 6, None, None, None, None)
        await lab.compact(run_id)


async def test_what_is_not_granted_is_not_read(lab: Lab) -> None:
    run_id = await lab.run()
    await lab.send(run_id, uuid4(), block(0))
    [project_id] = lab.scope.roles
    stranger = Scope(uuid4(), "stranger", True, {})
    logger = Scope(uuid4(), "logger", False, {project_id: Role.LOGGER})
    viewer = Scope(uuid4(), "viewer", False, {project_id: Role.VIEWER})
    for scope, count in ((stranger, 0), (logger, 0), (viewer, 1)):
        assert len(await series.read(lab.pool, scope, [run_id], ["loss"])) == count
        assert len((await summaries.latest(lab.pool, scope, [run_id]))[run_id]) == count
        assert await summaries.count(lab.pool, scope, run_id, "") == count
