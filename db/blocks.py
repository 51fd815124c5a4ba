"""Blocks: what one writer sends at once, with its columns as little-endian bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from uuid import UUID


@dataclass(slots=True)  # these are not frozen, which would take three times as long: there is one for each step
class Block:
    """A row of `block` before it is bound to its attempt.

    `steps` and `times` are n int64; `values` are float64, the n of the first key, then those of the second.
    """

    seq: int
    keyset_id: int
    n: int
    first_ms: int
    steps: bytes
    times: bytes
    values: bytes
    sha256: bytes


@dataclass(slots=True)
class Batch:
    """Blocks of one writer with consecutive seqs, at least one; they are stored together or not at all."""

    run_id: UUID
    writer_id: UUID
    account_id: UUID
    blocks: tuple[Block, ...]

    @property
    def first_seq(self) -> int:
        return self.blocks[0].seq

    @property
    def next_seq(self) -> int:
        return self.blocks[-1].seq + 1

    @property
    def size_bytes(self) -> int:
        return sum(len(block.steps) + len(block.times) + len(block.values) + 200 for block in self.blocks)


def columns(blocks: Sequence[Block]) -> list[Sequence[object]]:
    """The blocks as arrays: seqs, keysets, numbers of steps, first times, and contents.

    A content is the digest of a block, then its steps, times and values: few arrays are sent, because asyncpg asks of
    each entry whether it is an array itself.
    """
    return [
        [block.seq for block in blocks],
        [block.keyset_id for block in blocks],
        [block.n for block in blocks],
        [block.first_ms for block in blocks],
        [b"".join((block.sha256, block.steps, block.times, block.values)) for block in blocks],
    ]


def keys_sha256(keys: tuple[str, ...]) -> bytes:
    """What identifies a list of keys: SHA-256 of each key's length (uint32) and UTF-8 bytes, in order."""
    parts = [key.encode() for key in keys]
    return sha256(b"".join(chain.from_iterable((len(part).to_bytes(4, "little"), part) for part in parts))).digest()


def content_sha256(keyset_sha256: bytes, steps: bytes, times: bytes, values: bytes) -> bytes:
    """What identifies the content of a block, wherever and however it is stored.

    SHA-256 of the keyset's digest, the number of steps (uint64), then steps, times and values.
    """
    n = (len(steps) // 8).to_bytes(8, "little")
    return sha256(b"".join((keyset_sha256, n, steps, times, values))).digest()
