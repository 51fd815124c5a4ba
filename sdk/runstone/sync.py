"""Spools that earlier processes left, and `runstone sync`, which sends them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runstone import spool
from runstone.delivery import Delivery, folders
from runstone.errors import NotFound
from runstone.outbox import Outbox, SpoolDamaged
from runstone.transport import Transport

log = logging.getLogger("runstone")

PATIENCE_S: Final = 10.0
AGAIN_S: Final = 2.0  # between two looks with `follow`
OFFERED_MAX: Final = 20  # spools that are looked into when a run starts

_offered: set[Path] = set()


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of the spools of a run: what was sent now, what is left, and why."""

    run_id: str
    sent: Counter[str]
    left: Counter[str]
    missing: tuple[str, ...]
    problem: str | None
    is_alive: bool  # whether a process still writes it
    is_away: bool  # whether no server answered


def offer(folder: Path, run_id: str) -> None:
    """Say once that earlier processes left something, other than of this run, which sends it itself."""
    if folder in _offered:
        return
    _offered.add(folder)
    left = [run for run in sorted(folders(folder)) if run.name != run_id][-OFFERED_MAX:]
    count = sum(any(_is_left(writer) for writer in folders(run)) for run in left)
    if count:
        runs = "1 run of an earlier process is" if count == 1 else f"{count} runs of earlier processes are"
        log.warning("%s not stored as a whole yet: run `runstone sync`", runs)


def _is_left(writer: Path) -> bool:
    if spool.is_alive(writer):
        return False
    try:
        outbox = Outbox(writer)
    except SpoolDamaged:
        return True
    return outbox.has_more() or outbox.ending is not None or bool(outbox.uploads)


async def sync(
    transport: Transport,
    folder: Path,
    run_ids: Sequence[str] = (),
    *,
    follow: bool = False,
    on_synced: Callable[[Synced], None],
) -> None:
    """Send what the spools under `folder` have, of these runs or of all; with `follow` again and again.

    Ends with the first run for which no server answers, or waits for it with `follow`. Raises `NotFound` when a run has
    no spool here.
    """
    here = {run.name for run in folders(folder)}
    absent = [run_id for run_id in run_ids if run_id not in here]
    if absent:
        raise NotFound(f"there is no spool of run {absent[0]} in {folder}", path="run")
    while True:
        for run in sorted(folders(folder)):
            if not run_ids or run.name in run_ids:
                synced = await _sync_run(transport, run)
                on_synced(synced)
                if synced.is_away:
                    break
        if not follow:
            return
        await asyncio.sleep(AGAIN_S)


async def _sync_run(transport: Transport, run: Path) -> Synced:
    delivery = Delivery(transport, run.name, run)
    await delivery.start()
    before = _stored(delivery)
    try:
        await delivery.until(lambda: delivery.is_delivered, PATIENCE_S)
    finally:
        await delivery.stop()
    return await asyncio.to_thread(_outcome, delivery, before)


def _stored(delivery: Delivery) -> Counter[str]:
    found: Counter[str] = Counter()
    for outbox in delivery.outboxes:
        found.update({"points" if kind == "metrics" else kind: count for kind, count in outbox.stored.items()})
    return found


def _outcome(delivery: Delivery, before: Counter[str]) -> Synced:
    sent = _stored(delivery) - before
    sent["files"] += delivery.uploader.stored
    left = delivery.remaining()
    missing = [reason for outbox in delivery.outboxes for reason in outbox.reasons]
    missing += [f"{path}: {error}" for path, error in delivery.uploader.failures.items()]
    is_delivered = delivery.is_delivered
    problem = None if is_delivered else str(delivery.trouble or "; ".join(delivery.problems) or "not sent in time")
    alive = [outbox for outbox in delivery.outboxes if spool.is_alive(outbox.folder)]
    for outbox in delivery.outboxes:
        if is_delivered and outbox not in alive:
            outbox.remove()
    return Synced(
        run_id=delivery.run_id,
        sent=+sent,
        left=left,
        missing=tuple(missing),
        problem=problem,
        is_alive=bool(alive),
        is_away=delivery.trouble is not None and delivery.trouble.retryable,
    )


def describe(synced: Synced) -> str:
    """In one line."""
    sent = ", ".join(f"{count:,} {noun}" for noun, count in synced.sent.items()) or "nothing new"
    parts = [f"run {synced.run_id}: sent {sent}"]
    if synced.problem is not None:
        left = ", ".join(f"{count:,} {noun}" for noun, count in synced.left.items()) or "its end"
        parts.append(f"left {left}: {synced.problem}")
    if synced.missing:
        parts.append(f"not stored: {'; '.join(synced.missing[:5])}")
    if synced.is_alive:
        parts.append("a process still writes it")
    return "; ".join(parts)
