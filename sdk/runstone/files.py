"""Files on this machine: which ones, their digests, and copies that nobody changes."""

import errno
import hashlib
import mimetypes
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

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

    def to_json(self, base: Path) -> dict[str, Any]:
        """What `of_json` takes; a file under `base` may move with it."""
        source = self.source.absolute()
        return {
            "source": str(source.relative_to(base) if source.is_relative_to(base) else source),
            "path": self.path,
            "size_bytes": self.size_bytes,
            "changed_ns": self.changed_ns,
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any], base: Path) -> "LocalFile":
        """The file whose `to_json` this is."""
        return cls(base / content["source"], content["path"], content["size_bytes"], content["changed_ns"])

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


def kept(files: Sequence[LocalFile], home: Path) -> list[LocalFile]:
    """Copies in the folder `home`, which is made, so that the originals may change or go at once.

    More than 64 MiB in all are not copied, nor what the disk has no room for: such files are read where they are.
    """
    if not files or sum(file.size_bytes for file in files) > COPY_BYTES_MAX:
        return list(files)
    try:
        home.mkdir(mode=0o700, parents=True)
        return [_copy(file, home / str(index)) for index, file in enumerate(files)]
    except OSError as error:
        shutil.rmtree(home, ignore_errors=True)
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return list(files)


def _copy(file: LocalFile, target: Path) -> LocalFile:
    shutil.copyfile(file.source, target)
    facts = target.stat()
    return replace(file, source=target, size_bytes=facts.st_size, changed_ns=facts.st_mtime_ns)


def read(source: Path, offset: int, size_bytes: int) -> bytes:
    """`size_bytes` from `offset` on; fewer at the end of the file."""
    with source.open("rb") as file:
        file.seek(offset)
        return file.read(size_bytes)
