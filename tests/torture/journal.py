"""Journals: what a writer is about to do, and what it was told, kept outside of Runstone.

One line each, written before the request leaves, so that a line survives the kill of whoever wrote it. What each line
says is in `History.read`.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.content import Block


class Journal:
    """Appends to one file; each process has its own."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *lines: str) -> None:
        """Write the lines, all in one step."""
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())

    def tried(self, run_id: str, writer_id: str, blocks: Iterable[Block]) -> None:
        """These blocks are about to be sent for the first time."""
        self.note(
            *(
                f"tried {run_id} {writer_id} {one.number} {one.seq} {one.keys} {one.n} {one.salt}"
                for one in blocks
            )
        )  # fmt: skip


@dataclass(slots=True)
class Told:
    """A block and what its writer was told about it."""

    block: Block
    acknowledged: bool = False
    refused: bool = False
    late: bool = False  # first tried when the end of the run was acknowledged


@dataclass(frozen=True, slots=True)
class File:
    """A file that was given to the SDK."""

    path: str
    sha256: str


@dataclass(slots=True)
class Story:
    """A run as its writers saw it."""

    run_id: str
    by_sdk: bool = False  # then the times are the SDK's own
    created: bool = False
    finished: bool = False
    blocks: dict[tuple[int, int], Told] = field(default_factory=dict)
    writers: dict[int, str] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)


class History:
    """All that the journals say."""

    def __init__(self) -> None:
        self.runs: dict[str, Story] = {}
        self.odd: list[str] = []
        self._run_of: dict[int, Story] = {}

    @classmethod
    def of(cls, folder: Path) -> "History":
        """The history that the journals of a folder tell."""
        history = cls()
        for path in sorted(folder.glob("*.journal")):
            lines = path.read_text().split("\n")
            history.read(lines[:-1])  # the last is empty, or was cut off by a kill and never acted upon
        return history

    def read(self, lines: Iterable[str]) -> None:
        """Add what the lines say."""
        for line in lines:
            match line.split(" "):
                case ["run", run_id, kind]:
                    self.runs[run_id] = Story(run_id, by_sdk=kind == "sdk")
                case ["created", run_id]:
                    self.runs[run_id].created = True
                case ["tried", run_id, writer_id, *numbers]:
                    self._tried(run_id, writer_id, Block(*map(int, numbers)))
                case ["acknowledged", number, seq, count]:
                    for told in self._blocks(int(number), int(seq), int(count)):
                        told.acknowledged = True
                case ["refused", number, seq, count]:
                    for told in self._blocks(int(number), int(seq), int(count)):
                        told.refused = True
                case ["finished", run_id]:
                    self._finished(self.runs[run_id])
                case ["file", run_id, sha256, path]:
                    self.runs[run_id].files.append(File(path, sha256))
                case ["odd", *words]:
                    self.odd.append(" ".join(words))
                case _:
                    raise ValueError(f"a journal has the line {line!r}")

    @property
    def points(self) -> int:
        """How many points were tried."""
        return sum(told.block.n * told.block.keys for run in self.runs.values() for told in run.blocks.values())

    @property
    def acknowledged(self) -> int:
        """How many points were acknowledged."""
        return sum(
            told.block.n * told.block.keys
            for run in self.runs.values()
            for told in run.blocks.values()
            if told.acknowledged
        )

    def _tried(self, run_id: str, writer_id: str, block: Block) -> None:
        run = self.runs[run_id]
        run.writers[block.number] = writer_id
        self._run_of[block.number] = run
        run.blocks[block.number, block.seq] = Told(block, late=run.finished)

    def _finished(self, run: Story) -> None:
        run.finished = True
        if run.by_sdk:  # its `finish` has said that nothing is missing
            for told in run.blocks.values():
                told.acknowledged = True

    def _blocks(self, number: int, seq: int, count: int) -> Iterable[Told]:
        run = self._run_of[number]
        return (run.blocks[number, seq + place] for place in range(count))
