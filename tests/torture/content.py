"""What writers send: the points of a block follow from five numbers, so that one line of a journal says it all."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]
Ints: TypeAlias = NDArray[np.int64]

START_MS = 1_700_000_000_000
POINTS_MAX = 64  # of each key of a block
KEYS = ("loss", "accuracy", "grad/norm", "lr", *(f"layer/{number}/weight" for number in range(16)))

# What floats can be besides ordinary: NaNs with a payload, infinities, -0.0, denormals, extremes.
SPECIALS = np.array(
    [0x7FF8 << 48, 0x7FF8_0000_DEAD_BEEF, 0xFFF8_0000_0000_0001, 0x7FF0 << 48, 0xFFF0 << 48, 1 << 63, 1, 2**52 - 1,
     0x7FEF_FFFF_FFFF_FFFF, 0xFFEF_FFFF_FFFF_FFFF],
    "<u8",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """`n` points of each of the first `keys` keys: the block `seq` of the writer `number`."""

    number: int
    seq: int
    keys: int
    n: int
    salt: int

    def wire(self) -> tuple[Ints, Ints, Words]:
        """Its steps, its times and the bits of its values, key by key."""
        one = Blocks.of([self])
        steps, times = one.steps(), one.times()
        return steps, times, np.concatenate([one.values(key) for key in range(self.keys)])


@dataclass(frozen=True, slots=True)
class Blocks:
    """Many blocks as columns, with a row for each point of a key that they all have."""

    block: Ints  # which of the blocks given
    position: Words
    number: Words
    seq: Words
    salt: Words

    @classmethod
    def of(cls, blocks: list[Block]) -> "Blocks":
        """The points that each key of these blocks has."""
        columns = np.array([(one.number, one.seq, one.n, one.salt) for one in blocks], "<u8").reshape(-1, 4)
        number, seq, n, salt = columns.T
        block = np.repeat(np.arange(len(blocks)), n.astype("<i8"))
        starts = np.cumsum(n) - n
        position = np.arange(len(block), dtype="<u8") - starts[block]
        return cls(block, position, number[block], seq[block], salt[block])

    def steps(self) -> Ints:
        """A step says which point it is of: no two points of a key have the same one."""
        steps: Words = step_of(self.number, self.seq, self.position)
        return steps.astype("<i8")

    def times(self) -> Ints:
        """Times in any order, within twelve days."""
        return (START_MS + _mixed(self.salt + self.position) % 10**9).astype("<i8")

    def values(self, key: int) -> Words:
        """The bits of the values: of even keys such that float32 holds them, of odd ones any; some are special."""
        noise = _mixed(self.salt ^ (self.position << np.uint64(8)) ^ np.uint64(key + 1))
        narrow = ((noise >> np.uint64(40)).astype("<f8") / 1024.0).view("<u8")
        bits = noise if key % 2 else narrow
        rare = _mixed(noise)
        return np.where(rare % 32 == 0, SPECIALS[(rare >> np.uint64(8)) % len(SPECIALS)], bits)


def step_of(number: Any, seq: Any, position: Any) -> Any:
    """The step of a point: 30 bits of the writer's number, 24 of the block's seq, 6 of its place there."""
    return ((number << 24) + seq) * POINTS_MAX + position


def place_of(step: int) -> tuple[int, int, int]:
    """Number, seq and position of a step."""
    return step // POINTS_MAX >> 24, step // POINTS_MAX % (1 << 24), step % POINTS_MAX


def file_bytes(salt: int, size_bytes: int) -> bytes:
    """The content of a file."""
    return _mixed(np.arange(salt, salt + size_bytes // 8 + 1, dtype="<u8")).tobytes()[:size_bytes]


def _mixed(words: Words) -> Words:
    """Each number thoroughly mixed (splitmix64)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
