"""Does Runstone show what the journals say? Acknowledged is a part of present, present of tried, nothing is doubled.

Everything is read over GraphQL, as a user reads it, then compared with the database from below.
"""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import numpy as np

from db import chunks
from db.blocks import content_sha256, keys_sha256
from db.pool import Pool
from tests.torture.content import KEYS, Blocks, Ints, Words, place_of
from tests.torture.journal import History, Story, Told
from tests.torture.wire import Server

SHOWN_MAX = 20  # violations of one kind of one run
ROWS_MAX = 10_000  # of one run that are compared through SQL


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    kind: str
    run_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: run {self.run_id}: {self.text}"


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one key, sorted by step; values by their bits."""

    steps: Ints
    times: Ints
    bits: Words

    @classmethod
    def of(cls, steps: Ints, times: Ints, bits: Words) -> "Points":
        order = np.argsort(steps, kind="stable")
        return cls(steps[order], times[order], bits[order])


def check_points(story: Story, present: Mapping[str, Points]) -> list[Violation]:
    """What is wrong with the points that a run has."""
    found: list[Violation] = []

    def report(kind: str, steps: Ints | Sequence[int], text: str) -> None:
        for step in steps[:SHOWN_MAX]:
            number, seq, position = place_of(int(step))
            found.append(Violation(kind, story.run_id, f"{text} {position} of block {seq} of writer {number}"))

    told = list(story.blocks.values())
    counts = np.zeros(len(told), "<i8")
    for place, key in enumerate(KEYS):
        having = [index for index, one in enumerate(told) if one.block.keys > place]
        wanted = Blocks.of([told[index].block for index in having])
        order = np.argsort(wanted.steps())
        steps = wanted.steps()[order]
        shown = present.get(key) or Points(np.zeros(0, "<i8"), np.zeros(0, "<i8"), np.zeros(0, "<u8"))
        report("doubled", shown.steps[1:][shown.steps[1:] == shown.steps[:-1]], f"{key}: twice point")
        at = np.searchsorted(steps, shown.steps)
        known = at < len(steps)
        known[known] = steps[at[known]] == shown.steps[known]
        report("unknown", shown.steps[~known], f"{key}: nobody sent point")
        at, right = at[known], order[at[known]]
        altered = wanted.values(place)[right] != shown.bits[known]
        if not story.by_sdk:
            altered |= wanted.times()[right] != shown.times[known]
        report("altered", shown.steps[known][altered], f"{key}: not what was sent, point")
        is_there = np.zeros(len(steps), "<i8")
        np.add.at(is_there, at, 1)
        blocks = np.array(having, "<i8")[wanted.block[order]] if having else np.zeros(0, "<i8")
        np.add.at(counts, blocks, np.minimum(is_there, 1))
        acknowledged = np.array([one.acknowledged for one in told], bool)
        missing = (is_there == 0) & acknowledged[blocks]
        report("missing", steps[missing], f"{key}: acknowledged and not there, point")
    found += _check_blocks(story, told, counts)
    return found


def _check_blocks(story: Story, told: Sequence[Told], counts: Ints) -> Iterator[Violation]:
    """Blocks are there whole or not at all, without gaps, and not when their writer was told so."""
    present: dict[int, list[int]] = {}
    for one, count in zip(told, counts.tolist(), strict=True):
        name = f"block {one.block.seq} of writer {one.block.number}"
        if count not in (0, one.block.n * one.block.keys):
            yield Violation("torn", story.run_id, f"{count} of {one.block.n * one.block.keys} points of {name}")
        if not count:
            continue
        present.setdefault(one.block.number, []).append(one.block.seq)
        if one.refused:
            yield Violation("refused", story.run_id, f"refused for good and yet there: {name}")
        if one.late:
            yield Violation("late", story.run_id, f"first sent after the run had ended and yet there: {name}")
    for number, seqs in present.items():
        if max(seqs) + 1 != len(seqs):
            yield Violation("gap", story.run_id, f"writer {number} has {len(seqs)} blocks, the last is {max(seqs)}")


def check_summaries(
    story: Story, present: Mapping[str, Points], shown: Mapping[str, Mapping[str, Any]]
) -> list[Violation]:
    """What is wrong with the summaries of a run's series, given its points."""
    found = []
    for key in sorted(set(present) | {key for key, summary in shown.items() if summary["count"]}):
        if key not in present or key not in shown:
            found.append(Violation("summary", story.run_id, f"{key} has only points or only a summary"))
            continue
        wanted = summary_of(present[key])
        given = {name: shown[key][name] for name in wanted}
        differing = [name for name in wanted if not _is_same(wanted[name], given[name])]
        found += [
            Violation("summary", story.run_id, f"{key}: {name} is {given[name]} and should be {wanted[name]}")
            for name in differing
        ]
    return found


def summary_of(points: Points) -> dict[str, Any]:
    """What the points amount to."""
    values = points.bits.view("<f8")
    finite = np.isfinite(values)
    least, most = (values[finite].min(), values[finite].max()) if finite.any() else (None, None)
    return {
        "count": len(values),
        "first": values[0],
        "last": values[-1],
        "lastStep": points.steps[-1],
        "min": least,
        "minStep": None if least is None else points.steps[np.argmax(values == least)],
        "max": most,
        "maxStep": None if most is None else points.steps[np.argmax(values == most)],
        "nonFinite": int((~finite).sum()),
    }


def _is_same(wanted: Any, given: Any) -> bool:
    if wanted is None or given is None:
        return wanted is None and given is None
    return float(wanted) == float(given) or (math.isnan(float(wanted)) and math.isnan(float(given)))


SERIES = """
    query ($id: ID!, $keys: [String!]!) {
      run(id: $id) { series(keys: $keys, encoding: BASE64) { key count exact steps times values } }
    }
"""

SUMMARIES = """
    query ($id: ID!) {
      run(id: $id) {
        metrics(first: 500) { nodes { key count first last lastStep min minStep max maxStep nonFinite } }
      }
    }
"""

ARTIFACTS = """
    query ($id: ID!) {
      run(id: $id) {
        artifacts(first: 500) { nodes { path state digest failure { reason message } download { url } } }
      }
    }
"""


async def check_run(server: Server, story: Story) -> list[Violation]:
    """Everything about a run's points that can be seen over GraphQL."""
    present: dict[str, Points] = {}
    data = await server.ask(SERIES, id=story.run_id, keys=KEYS)
    if data["run"] is None:
        promised = story.created or any(told.acknowledged for told in story.blocks.values())
        return [Violation("missing", story.run_id, "the run itself")] if promised else []
    for one in data["run"]["series"]:
        steps, times, values = (base64.b64decode(one[column]) for column in ("steps", "times", "values"))
        points = Points.of(np.frombuffer(steps, "<i8"), np.frombuffer(times, "<i8"), np.frombuffer(values, "<u8"))
        if not one["exact"] or one["count"] != len(points.steps):
            return [Violation("count", story.run_id, f"{one['key']}: {one['count']}, {len(points.steps)} shown")]
        present[one["key"]] = points
    data = await server.ask(SUMMARIES, id=story.run_id)
    shown = {one["key"]: one for one in data["run"]["metrics"]["nodes"]}
    return [*check_points(story, present), *check_summaries(story, present, shown)]


async def check_uploads(server: Server, story: Story) -> list[Violation]:
    """Every upload has ended: READY with the bytes that were given, or FAILED with a reason."""
    data = await server.ask(ARTIFACTS, id=story.run_id)
    if data["run"] is None:
        return []
    given = {file.path: file.sha256 for file in story.files}
    nodes = {node["path"]: node for node in data["run"]["artifacts"]["nodes"]}
    found = []
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as http:
        for path in given:
            if path not in nodes and not story.finished:
                continue  # its bytes were never announced
            node = nodes.get(path, {"path": path, "state": "missing"})
            text = None
            if node["state"] == "READY":
                sha256 = hashlib.sha256((await http.get(node["download"]["url"])).content).hexdigest()
                if not node["digest"].endswith(given[node["path"]]) or sha256 != given[node["path"]]:
                    text = "its bytes are not those that were given"
            elif node["state"] != "FAILED" or story.finished:
                text = f"it is {node['state']}"
            elif not node["failure"] or not node["failure"]["reason"] or not node["failure"]["message"]:
                text = "it failed without a reason"
            if text:
                found.append(Violation("upload", story.run_id, f"{node['path']}: {text}"))
    return found


# Blocks and chunks of a writer: no seq is in two places, and its cursor counts them all.
TIERS = """
    with held as (
        select writer_id, int8range(seq, seq + 1)::int8multirange as seqs from block where run_id = $1
        union all
        select writer_id, seqs from chunk where run_id = $1
    ), counted as (
        select held.writer_id, range_agg(part) as seqs, sum(upper(part) - lower(part)) as count
        from held, unnest(held.seqs) as part
        group by held.writer_id
    )
    select writer.id, writer.next_seq, coalesce(counted.count, 0)::bigint as count,
        coalesce(counted.seqs = int8multirange(int8range(0, writer.next_seq)), writer.next_seq = 0) as is_whole
    from writer left join counted on counted.writer_id = writer.id
    where writer.run_id = $1
"""

ROWS = """
    select key, step, round(extract(epoch from time) * 1000)::bigint as time_ms, value, writer_id, seq, position
    from metric_points where run_id = $1 and writer_id = any($2::uuid[])
"""


async def check_tiers(pool: Pool, story: Story) -> list[Violation]:
    """What is stored, seen from below: blocks and chunks agree with the cursors, and each block has its content."""
    run_id = UUID(story.run_id)
    found = [
        Violation("tiers", story.run_id, f"writer {row['id']} holds {row['count']} blocks of {row['next_seq']}")
        for row in await pool.fetch(TIERS, run_id)
        if row["count"] != row["next_seq"] or not row["is_whole"]
    ]
    if story.by_sdk:
        return found
    for number, writer_id in story.writers.items():
        hashes = await chunks.hashes(pool, run_id, UUID(writer_id), 0, 2**40)
        for seq, sha256 in hashes.items():
            told = story.blocks.get((number, seq))
            if told is None or _sha256(told) != sha256:
                found.append(Violation("content", story.run_id, f"block {seq} of writer {number}"))
    return found


def _sha256(told: Told) -> bytes:
    steps, times, bits = told.block.wire()
    return content_sha256(keys_sha256(KEYS[: told.block.keys]), steps.tobytes(), times.tobytes(), bits.tobytes())


async def check_rows(pool: Pool, story: Story) -> list[Violation]:
    """The view `metric_points` has the points of some of the run's writers, each once."""
    numbers: list[int] = []
    rows = 0
    for number in story.writers:
        of_writer = [told.block for told in story.blocks.values() if told.block.number == number]
        rows += sum(block.n * block.keys for block in of_writer)
        if rows <= ROWS_MAX:
            numbers.append(number)
    ids = [UUID(story.writers[number]) for number in numbers]
    hashes = {
        number: set(await chunks.hashes(pool, UUID(story.run_id), writer_id, 0, 2**40))
        for number, writer_id in zip(numbers, ids, strict=True)
    }
    wanted: Counter[tuple[Any, ...]] = Counter()
    for told in story.blocks.values():
        block = told.block
        if block.number not in hashes or block.seq not in hashes[block.number]:
            continue
        steps, times, bits = block.wire()
        writer_id = UUID(story.writers[block.number])
        for place, value in enumerate(bits.view("<f8").tolist()):
            key, position = KEYS[place // block.n], place % block.n
            wanted[key, int(steps[position]), int(times[position]), repr(value), writer_id, block.seq, position] += 1
    shown = Counter(
        (row["key"], row["step"], row["time_ms"], repr(row["value"]), row["writer_id"], row["seq"], row["position"])
        for row in await pool.fetch(ROWS, UUID(story.run_id), ids)
    )
    if shown == wanted:
        return []
    missing, extra = wanted - shown, shown - wanted
    example = next(iter(missing or extra))
    return [Violation("view", story.run_id, f"{len(missing)} rows missing, {len(extra)} extra, such as {example}")]


async def check_all(server: Server, history: History, pool: Pool, *, rows_of: int) -> list[Violation]:
    """Everything about all runs; of `rows_of` of them also the rows of the view."""
    found = [Violation("answer", "-", odd) for odd in history.odd]
    with_rows = 0
    for story in history.runs.values():
        found += await check_run(server, story)
        if story.files:
            found += await check_uploads(server, story)
        found += await check_tiers(pool, story)
        if with_rows < rows_of and story.blocks and not story.by_sdk:
            with_rows += 1
            found += await check_rows(pool, story)
    return found
