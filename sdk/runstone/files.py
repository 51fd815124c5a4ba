"""Files on this machine: which ones, their digests, and copies that nobody changes."""

import hashlib
import mimetypes
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from runstone import values
from runstone.errors import Invalid

COPY_BYTES_MAX: Final = 64 * 1024 * 1024
CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to upload: where it is, the artifact path it gets, and what it was when it was logged."""

    source: Path
    path: str
    size_bytes: int
    changed_ns: int
    sha256: str = ""

    @property
    def media_type(self) -> str | None:
        return mimetypes.guess_type(self.path)[0]

    def digested(self) -> "LocalFile":
        """The same with its SHA-256. Raises `Invalid` when it changed since it was logged, `OSError`."""
        with self.source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.require_unchanged()
        return replace(self, sha256=sha256)

    def require_unchanged(self) -> None:
        """Raises `Invalid` when the file is not what it was when it was logged, `OSError` when it is gone."""
        facts = self.source.stat()
        if (facts.st_size, facts.st_mtime_ns) != (self.size_bytes, self.changed_ns):
            raise Invalid(
                f"{self.source} changed after it was logged as {self.path!r}",
                path=self.path,
                hint="wait for the upload before you change a large file: run.log_artifact(...).wait()",
            )


def one(source: str | os.PathLike[str], name: str | None) -> list[LocalFile]:
    """The file, as `name` or under its own name. Raises `Invalid`, `OSError`."""
    file = Path(source)
    if file.is_dir():
        raise Invalid(f"{file} is a folder", path="path", hint="use log_artifacts for a folder")
    return [_local(file, values.path(file.name if name is None else name))]


def folder(source: str | os.PathLike[str], prefix: str | None) -> list[LocalFile]:
    """All files of the folder, by path, under `prefix`. Raises `Invalid`, `OSError`."""
    root = Path(source)
    if not root.is_dir():
        raise Invalid(f"{root} is not a folder", path="folder", hint="use log_artifact for one file")
    start = "" if not prefix else f"{prefix.rstrip('/')}/"
    return [_local(file, values.path(start + file.relative_to(root).as_posix())) for file in _walk(root)]


def _walk(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name)


def _local(source: Path, path: str) -> LocalFile:
    facts = source.stat()
    if not source.is_file():
        raise Invalid(f"{source} is not a file", path=path)
    return LocalFile(source, path, facts.st_size, facts.st_mtime_ns)


def kept(files: Sequence[LocalFile]) -> tuple[list[LocalFile], Path | None]:
    """Copies in a folder of their own, so that the originals may change or go at once; and that folder.

    More than 64 MiB in all are not copied: such files are read where they are.
    """
    if not files or sum(file.size_bytes for file in files) > COPY_BYTES_MAX:
        return list(files), None
    home = new_folder()
    try:
        return [_copy(file, home / str(index)) for index, file in enumerate(files)], home
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise


def _copy(file: LocalFile, target: Path) -> LocalFile:
    shutil.copyfile(file.source, target)
    facts = target.stat()
    return replace(file, source=target, size_bytes=facts.st_size, changed_ns=facts.st_mtime_ns)


def new_folder() -> Path:
    """A fresh folder that only we can read."""
    return Path(tempfile.mkdtemp(prefix="runstone-"))


def read(source: Path, offset: int, size_bytes: int) -> bytes:
    """`size_bytes` from `offset` on; fewer at the end of the file."""
    with source.open("rb") as file:
        file.seek(offset)
        return file.read(size_bytes)
