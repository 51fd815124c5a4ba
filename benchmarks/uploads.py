"""Files on their way to the store: through the client, and with a plain S3 client on the same store."""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import aioboto3
from aiobotocore.config import AioConfig

from benchmarks import sdk
from benchmarks.bench import Bench
from benchmarks.report import Section
from settings import S3Settings

MIB: Final = 1024 * 1024
FILES: Final = 100
PARALLEL: Final = 8
COLUMN: Final = "MiB/s"


async def measure(bench: Bench) -> Section:
    """MiB per second of each way, and the memory of the training."""
    large = bench.choose(full=1024, quick=256)
    section = Section(
        "Uploads",
        f"{FILES} files of 1 MiB, and one of {large} MiB, random bytes. Runstone: from the call until `wait()` returns,"
        f" with their digests. S3: the same files with aioboto3, {PARALLEL} at once, without digests. In turns.",
    )
    with tempfile.TemporaryDirectory(prefix="runstone-uploads-") as folder:
        for count, mib in ((FILES, 1), (1, large)):
            files = _made(Path(folder, f"{count}x{mib}"), count, mib)
            await _compare(bench, section, files, count * mib, f"{count} x {mib} MiB")
    return section


def _made(folder: Path, count: int, mib: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{number}.bin" for number in range(count)]
    for path in files:
        with path.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
    return files


async def _compare(bench: Bench, section: Section, files: Sequence[Path], mib: int, what: str) -> None:
    ours, theirs, memory = [], [], []
    for _ in range(bench.choose(full=3, quick=1)):
        theirs.append(mib / await _plain(bench.server.settings.s3, files))
        _changed(files)
        found = await sdk.process(bench.server, bench.server.settings.url, "upload", str(files[0].parent))
        ours.append(mib / found["seconds"])
        memory.append(found["mib"])
    section.add(f"Runstone, {what}", MiB_per_s=ours, memory_MiB=memory)
    section.add(f"S3, {what}", MiB_per_s=theirs)
    ratio = section.ratio(COLUMN, f"Runstone, {what}", f"S3, {what}")
    section.at_least(f"{what}: at least 0.9 x the S3 client", ratio, 0.9)
    section.at_most(f"{what}: memory at most 150 MiB", section.median("memory MiB", f"Runstone, {what}"), 150, "MiB")


def _changed(files: Sequence[Path]) -> None:
    """Other bytes, because the store has these and would not take them again."""
    for path in files:
        with path.open("r+b") as file:
            file.write(uuid4().bytes)


async def _plain(s3: S3Settings | None, files: Sequence[Path]) -> float:
    """Seconds with the S3 client."""
    assert s3 is not None, "a Runstone that runs has a store"
    config = AioConfig(max_pool_connections=PARALLEL, s3={"addressing_style": "path" if s3.path_style else "auto"})
    async with aioboto3.Session().client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name=s3.region,
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
        config=config,
    ) as client:
        slots, prefix = asyncio.Semaphore(PARALLEL), f"bench/{uuid4()}"

        async def put(path: Path) -> None:
            async with slots:
                await client.upload_file(str(path), s3.bucket, f"{prefix}/{path.name}")

        start = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for path in files:
                tasks.create_task(put(path))
        return time.perf_counter() - start
