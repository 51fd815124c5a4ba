"""The server holds metadata and pointers: no byte of an artifact passes through the API process."""

import os
from pathlib import Path

import psutil

import runstone
from tests.conftest import Server
from tests.parts import pid_of

SIZE_BYTES = 24 * 1024 * 1024


def moved_bytes(process: psutil.Process) -> int:
    """What the process has read and written so far, over sockets and files."""
    counters = process.io_counters()
    return int(counters.read_chars + counters.write_chars)


async def test_no_artifact_byte_passes_through_the_api(server: Server, tmp_path: Path) -> None:
    sent = tmp_path / "weights.bin"
    sent.write_bytes(os.urandom(SIZE_BYTES))
    api = psutil.Process(pid_of(server, "api"))
    before = moved_bytes(api)

    async with runstone.Client(server.url, server.token) as client:
        run = await client.start_run(experiment="bytes")
        run.log_artifact(sent)
        finished = await run.finish()
        assert finished.status == "FINISHED"
        received = await client.download(run.id, "weights.bin", to=tmp_path / "back")

    assert received.read_bytes() == sent.read_bytes()
    assert moved_bytes(api) - before < SIZE_BYTES / 10
