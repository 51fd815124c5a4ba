"""What every subject is given."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.load import Generating
from benchmarks.peers.rest import Peer
from benchmarks.report import Section
from benchmarks.server import Server, blocks_of

SETTLE_S = 300.0

Figures = TypeVar("Figures")


@dataclass(frozen=True, slots=True)
class Bench:
    """A Runstone, a load generator and the peers that are there; `quick` asks for a form of about two minutes."""

    server: Server
    load: Generating
    peers: Sequence[Peer]
    absent: Sequence[tuple[str, str]]  # peers that are not there, and why
    quick: bool
    memory_at_start: Mapping[str, float]  # MiB of each process

    def choose(self, full: int, quick: int) -> int:
        """The size of something."""
        return quick if self.quick else full

    def note_absent(self, section: Section) -> None:
        """Say in the table which peers are not there."""
        for name, reason in self.absent:
            section.add(name, reason)

    async def turn(
        self,
        section: Section,
        peers: dict[str, Callable[[], Awaitable[Figures]]],
        found: Mapping[str, list[Figures]],
    ) -> None:
        """Measure each peer once; one that fails stands in the table with its error and has no further turn."""
        for name, measured in list(peers.items()):
            del peers[name]
            with section.trying(name):
                found[name].append(await measured())
                peers[name] = measured

    async def settle(self, run_ids: Sequence[str]) -> None:
        """End the runs and wait until the worker has compacted all their blocks."""
        await self.server.finish(run_ids)
        await self.compacted(run_ids)

    async def compacted(self, run_ids: Sequence[str]) -> None:
        """Wait until the worker has compacted all blocks of the runs, which have ended."""
        async with asyncio.timeout(SETTLE_S):
            while await blocks_of(self.server.pool, run_ids):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.2)
