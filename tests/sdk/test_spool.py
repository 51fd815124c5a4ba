"""The log of records on the disk: what was appended is read again, and damage costs only what is damaged."""

import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard
from zlib import crc32

import pytest

from runstone import spool, values
from runstone.config import Spooling
from runstone.spool import Damage, Position, Reader, Spool, row_form

KEYS = ("loss", "train/accuracy", "größe")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a writer has its spool."""
    return tmp_path / "spool" / values.new_id() / values.new_id()


def opened(folder: Path, **settings: float) -> Spool:
    return Spool(folder, Spooling(folder.parents[1], **settings))  # type: ignore[arg-type]  # whole numbers are given


def append_row(writer: Spool, keys: tuple[str, ...], step: int, time_ms: int, row: list[float]) -> bool:
    pack, length, count, names = row_form(keys)
    return writer.append_packed(pack, length, count, (spool.ROWS, count, step, time_ms, *row, names))


def steps(folder: Path) -> list[int]:
    """The steps of all rows that can be read."""
    return [spool.ROW.unpack_from(body)[2] for _, body in Reader(folder).records(Position()) if is_row(body)]


def is_row(body: bytes | Damage) -> TypeGuard[bytes]:
    return isinstance(body, bytes) and body != b"" and spool.KIND.unpack_from(body) == (spool.ROWS,)


def damages(folder: Path) -> list[tuple[int, Damage]]:
    """(segment, damage) of all that is no record."""
    found = Reader(folder).records(Position())
    return [(position.segment, body) for position, body in found if isinstance(body, Damage)]


def filled(folder: Path, rows: int) -> list[int]:
    """Rows of a dead writer, in one segment and of one size; the offsets of their records, and where the last ends."""
    writer = opened(folder)
    offsets = [writer.end().offset]
    for step in range(rows):
        append_row(writer, KEYS, step, 1_700_000_000_000 + step, [0.5 * step, math.nan, -0.0])
        offsets.append(writer.end().offset)
    writer.close()
    return offsets


def ends(folder: Path, offsets: list[int]) -> list[int]:
    """Where the records end, without the zeros behind them."""
    data = (folder / spool.name(1)).read_bytes()
    lengths = [spool.HEADER.unpack_from(data, offset)[2] for offset in offsets[:-1]]
    return [offset + spool.HEADER.size + length for offset, length in zip(offsets, lengths, strict=False)]


def test_rows_are_read_as_they_were_appended(folder: Path) -> None:
    writer = opened(folder)
    row = [5e-324, math.nan, -math.inf]

    append_row(writer, KEYS, 2**63 - 1, 1, row)
    writer.append("params", {"items": [{"key": "C", "value": "é"}]})
    first, second = (body for _, body in Reader(folder, writer).records(Position()))

    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    assert spool.ROW.unpack_from(first) == (spool.ROWS, 3, 2**63 - 1, 1)
    assert first[spool.ROW.size : spool.ROW.size + 24] == struct.pack("<3d", *row)
    assert first[spool.ROW.size + 24 :].decode().split("\0") == list(KEYS)
    assert json.loads(second[4:]) == {"items": [{"key": "C", "value": "é"}]}


def test_rows_of_several_segments_are_read_in_order(folder: Path) -> None:
    writer = opened(folder)
    for step in range(30_000):
        append_row(writer, KEYS, step, 1, [1.0, 2.0, 3.0])
    large = "x" * (2 * spool.SEGMENT_BYTES)
    writer.append("tags", {"items": [{"key": "large", "value": large}]})

    assert len(list(folder.glob("*.log"))) > 2
    assert steps(folder) == list(range(30_000))
    assert any(isinstance(body, bytes) and len(body) > len(large) for _, body in Reader(folder).records(Position()))


def test_what_was_read_can_be_trimmed(folder: Path) -> None:
    writer = opened(folder)
    for step in range(30_000):
        append_row(writer, KEYS, step, 1, [1.0, 2.0, 3.0])
    reader = Reader(folder, writer)
    positions = [position for position, body in reader.records(Position()) if is_row(body)]

    reader.trim(positions[-2].segment)

    assert [path.name for path in folder.glob("*.log")] == [spool.name(positions[-2].segment)]
    assert [is_row(body) for _, body in reader.records(positions[-2])] == [True]
    assert not reader.has_more(positions[-1])


def test_a_log_goes_on_on_the_disk_while_what_was_sent_is_deleted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = opened(folder)
    (folder / spool.name(0)).symlink_to("nothing")  # as a segment that is deleted just when its size is asked for
    rows = 2 * spool.SEGMENT_BYTES // 100
    for step in range(rows):
        append_row(writer, KEYS, step, 0, [0.0] * len(KEYS))
    assert writer.memory == {}
    assert caplog.messages == []


@pytest.mark.parametrize("seed", range(20))
def test_a_log_that_was_cut_off_anywhere_keeps_what_is_before(folder: Path, seed: int) -> None:
    offsets = filled(folder, 200)
    cut = random.Random(seed).randrange(spool.START.size, offsets[-1])
    whole = sum(end <= cut for end in ends(folder, offsets))
    os.truncate(folder / spool.name(1), cut)

    assert steps(folder) == list(range(whole))
    assert [damage.offset for _, damage in damages(folder)] == ([offsets[whole]] if cut > offsets[whole] else [])


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_costs_the_record_that_it_is_in_and_is_located(folder: Path, seed: int) -> None:
    offsets = filled(folder, 200)
    chance = random.Random(seed)
    hit = chance.randrange(199)
    at = chance.randrange(offsets[hit], ends(folder, offsets)[hit])
    path = folder / spool.name(1)
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << chance.randrange(8)
    path.write_bytes(data)

    assert steps(folder) == [step for step in range(200) if step != hit]
    assert damages(folder) == [(1, Damage(offsets[hit], offsets[hit + 1] - offsets[hit]))]


def test_a_block_of_zeros_costs_only_what_was_there(folder: Path) -> None:
    offsets = filled(folder, 200)
    path = folder / spool.name(1)
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)

    lost = [step for step in range(200) if offsets[step] < 8192 and offsets[step + 1] > 4096]
    assert steps(folder) == [step for step in range(200) if step not in lost]


def test_the_search_for_the_next_record_does_not_read_behind_the_end() -> None:
    script = """
        import ctypes, mmap
        from runstone import spool

        data = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        data[: mmap.PAGESIZE] = b"x" * mmap.PAGESIZE  # a record that is damaged up to the end of its page
        behind = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(data)) + mmap.PAGESIZE)
        assert ctypes.CDLL(None).mprotect(behind, mmap.PAGESIZE, 0) == 0  # no access
        print(list(spool.bodies(data, 0, mmap.PAGESIZE, is_final=True)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[(4096, Damage(offset=0, size_bytes=4096))]\n"


def test_a_record_in_the_place_of_another_is_none(folder: Path) -> None:
    offsets = filled(folder, 10)
    path = folder / spool.name(1)
    data = bytearray(path.read_bytes())
    data[offsets[5] : offsets[6]] = data[offsets[2] : offsets[3]]
    path.write_bytes(data)

    assert steps(folder) == [step for step in range(10) if step != 5]


def test_a_spool_that_may_not_grow_counts_what_it_drops(folder: Path) -> None:
    writer = opened(folder, bytes_max=spool.SEGMENT_BYTES)

    taken = [append_row(writer, KEYS, step, 1, [1.0, 2.0, 3.0]) for step in range(20_000)]
    kept = sum(taken)

    assert 0 < kept < 20_000
    assert writer.append("params", {"items": []})
    writer.close()
    assert Reader(folder).dropped() == (3 * (20_000 - kept), 0)
    assert steps(folder) == list(range(kept))


def test_a_folder_that_cannot_be_written_is_replaced_by_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool").write_text("not a folder")
    folder = tmp_path / "spool" / values.new_id() / values.new_id()

    writer = opened(folder)
    taken = [append_row(writer, KEYS, step, 1, [1.0, 2.0, 3.0]) for step in range(1000)]

    assert all(taken)
    reader = Reader(folder, writer)
    assert [is_row(body) for _, body in reader.records(Position())] == [True] * 1000
    [warning] = caplog.records
    assert "kept in memory" in warning.message


def test_a_disk_that_is_full_is_replaced_by_memory_up_to_a_bound(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool, "MEMORY_BYTES_MAX", spool.SEGMENT_BYTES)
    writer = opened(folder)

    def full(fd: int, size_bytes: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_reserve", full)
    taken = [append_row(writer, KEYS, step, 1, [1.0, 2.0, 3.0]) for step in range(40_000)]

    assert 15_000 < sum(taken) < 40_000
    reader = Reader(folder, writer)
    assert sum(is_row(body) for _, body in reader.records(Position())) == sum(taken)
    assert len(caplog.records) == 2
    assert "goes on in memory" in caplog.records[0].message
    assert "dropped and counted" in caplog.records[1].message


def test_what_is_interrupted_leaves_no_hole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = opened(folder)
    append_row(writer, KEYS, 0, 1, [1.0, 2.0, 3.0])

    def interrupt(body: bytes, start: int) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(spool, "crc32", interrupt)
    with pytest.raises(KeyboardInterrupt):
        append_row(writer, KEYS, 1, 1, [1.0, 2.0, 3.0])
    append_row(writer, KEYS, 2, 1, [1.0, 2.0, 3.0])

    assert steps(folder) == [0, 2]
    assert damages(folder) == []


def test_a_signal_handler_may_log_while_it_interrupts_logging(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = opened(folder)

    def interrupted(body: bytes, start: int) -> int:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)
        return crc32(body, start)

    def handle(*_: object) -> None:
        append_row(writer, KEYS, 99, 1, [1.0, 2.0, 3.0])

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        monkeypatch.setattr(spool, "crc32", interrupted)
        append_row(writer, KEYS, 0, 1, [1.0, 2.0, 3.0])
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert steps(folder) == [0, 99]


@pytest.fixture
def victim(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that appends rows for ever, and says which it has appended."""
    program = f"""
        import sys
        from pathlib import Path
        from runstone.config import Spooling
        from runstone.spool import ROWS, Spool, row_form
        folder = Path({str(folder)!r})
        writer = Spool(folder, Spooling(folder.parents[1]))
        pack, length, count, names = row_form(("loss", "accuracy"))
        step = 0
        while True:
            writer.append_packed(pack, length, count, (ROWS, count, step, 1, 1.0, 2.0, names))
            sys.stdout.write(f"{{step}}\\n")
            sys.stdout.flush()
            step += 1
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_what_was_appended_survives_kill_9(folder: Path, victim: "subprocess.Popen[str]") -> None:
    assert victim.stdout is not None
    told = [int(victim.stdout.readline()) for _ in range(2000)]
    assert spool.is_alive(folder)
    victim.kill()
    told += [int(line) for line in victim.stdout.read().splitlines() if line]
    victim.wait()

    kept = steps(folder)
    assert not spool.is_alive(folder)
    assert kept[: len(told)] == told
    assert len(kept) <= len(told) + 1
    assert damages(folder) == []
