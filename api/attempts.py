"""Attempts: the first start of a run and each resumption, with the source and environment it ran."""

from datetime import datetime
from typing import cast

import strawberry

from api.accounts import Account, account
from api.context import Info
from api.scalars import Int64
from db import attempts
from db.errors import Invalid


@strawberry.type(description="The code that an attempt ran.")
class Source:
    commit: str | None = strawberry.field(description="The git commit.")
    branch: str | None = strawberry.field(description="The git branch.")
    remote: str | None = strawberry.field(description="The git remote, without credentials.")
    dirty: bool | None = strawberry.field(description="Whether files differed from the commit.")
    entry_point: str | None = strawberry.field(description="The script or module that was started.")
    argv: list[str] | None = strawberry.field(description="Its arguments, secrets masked.")
    patch_digest: str | None = strawberry.field(
        description="`sha256:<hex>` of the difference to the commit; the artifact source/changes.patch holds it."
    )

    @classmethod
    def from_row(cls, row: attempts.Source) -> "Source":
        return cls(
            commit=row.commit_id,
            branch=row.branch,
            remote=row.remote,
            dirty=row.is_dirty,
            entry_point=row.entry_point,
            argv=row.argv,
            patch_digest=None if row.patch_digest is None else "sha256:" + row.patch_digest.hex(),
        )


@strawberry.type(description="An installed package.")
class Package:
    name: str = strawberry.field(description="Its name.")
    version: str = strawberry.field(description="Its version.")


@strawberry.type(description="What an attempt ran on.")
class Environment:
    python: str | None = strawberry.field(description="The version of Python.")
    platform: str | None = strawberry.field(description="The operating system.")
    hostname: str | None = strawberry.field(description="The machine's name.")
    cpu_count: int | None = strawberry.field(description="How many processors it had.")
    memory_bytes: Int64 | None = strawberry.field(description="How much memory it had, in bytes.")
    gpus: list[str] = strawberry.field(description="Its GPUs.")
    packages: list[Package] = strawberry.field(description="The installed packages, by name.")

    @classmethod
    def from_row(cls, row: attempts.Environment) -> "Environment":
        return cls(
            python=row.python,
            platform=row.platform,
            hostname=row.hostname,
            cpu_count=row.cpu_count,
            memory_bytes=cast(Int64 | None, row.memory_bytes),
            gpus=row.gpus,
            packages=[Package(name=name, version=version) for name, version in sorted(row.packages.items())],
        )


@strawberry.type(description="Somebody wants an attempt to end. Whoever trains hears of it and may go on.")
class StopRequest:
    requested_at: datetime = strawberry.field(description="When it was asked for.")
    reason: str | None = strawberry.field(description="Why, as the person said it.")
    row: strawberry.Private[attempts.StopRequest]

    @classmethod
    def from_row(cls, row: attempts.StopRequest) -> "StopRequest":
        return cls(requested_at=row.requested_at, reason=row.reason, row=row)

    @strawberry.field(description="Who asked for it.")
    async def requested_by(self, info: Info) -> Account:
        return await account(info, self.row.requested_by)


@strawberry.type(description="The first start of a run, or a resumption.")
class Attempt:
    number: int = strawberry.field(description="Counts from 1.")
    status: attempts.RunStatus = strawberry.field(description="Its state; one that has ended stays as it ended.")
    started_at: datetime = strawberry.field(description="When the server heard of it.")
    heartbeat_at: datetime = strawberry.field(description="When the server last heard that it is alive.")
    finished_at: datetime | None = strawberry.field(description="When it ended; null while it is open.")
    stop_request: StopRequest | None = strawberry.field(description="That it ends; null when nobody asked for it.")
    row: strawberry.Private[attempts.Attempt]

    @classmethod
    def from_row(cls, row: attempts.Attempt) -> "Attempt":
        return cls(
            number=row.number,
            status=row.status,
            started_at=row.started_at,
            heartbeat_at=row.heartbeat_at,
            finished_at=row.finished_at,
            stop_request=None if row.stop_request is None else StopRequest.from_row(row.stop_request),
            row=row,
        )

    @strawberry.field(description="Who started it.")
    async def started_by(self, info: Info) -> Account:
        return await account(info, self.row.started_by)

    @strawberry.field(description="The code it ran; null when its client told nothing.")
    async def source(self, info: Info) -> Source | None:
        row = await info.context.loaders.source.load((self.row.run_id, self.row.number))
        return None if row is None else Source.from_row(row)

    @strawberry.field(description="What it ran on; null when its client told nothing.")
    async def environment(self, info: Info) -> Environment | None:
        row = await info.context.loaders.environment.load((self.row.run_id, self.row.number))
        return None if row is None else Environment.from_row(row)


@strawberry.input(description="The code that an attempt attempts.")
class SourceInput:
    commit: str | None = strawberry.field(default=None, description="The git commit.")
    branch: str | None = strawberry.field(default=None, description="The git branch.")
    remote: str | None = strawberry.field(default=None, description="The git remote, without credentials.")
    dirty: bool | None = strawberry.field(default=None, description="Whether files differ from the commit.")
    entry_point: str | None = strawberry.field(default=None, description="The script or module that was started.")
    argv: list[str] | None = strawberry.field(
        default=None, description="Its arguments, secrets masked; at most 64 KiB."
    )
    patch_digest: str | None = strawberry.field(
        default=None, description="`sha256:<hex>` of the difference to the commit, when it is uploaded as an artifact."
    )

    def to_row(self) -> attempts.Source:
        """The row. Raises `Invalid`."""
        return attempts.checked_source(
            attempts.Source(
                commit_id=self.commit,
                branch=self.branch,
                remote=self.remote,
                is_dirty=self.dirty,
                entry_point=self.entry_point,
                argv=self.argv,
                patch_digest=None if self.patch_digest is None else _digest(self.patch_digest),
            )
        )


def _digest(text: str) -> bytes:
    path = "input.source.patchDigest"
    try:
        digest = bytes.fromhex(text.removeprefix("sha256:"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Invalid(f"{path} is not a SHA-256", path=path, limit="sha256: and 64 hexadecimal digits")
    return digest


@strawberry.input(description="An installed package.")
class PackageInput:
    name: str = strawberry.field(description="Its name.")
    version: str = strawberry.field(description="Its version.")


@strawberry.input(description="What an attempt runs on.")
class EnvironmentInput:
    python: str | None = strawberry.field(default=None, description="The version of Python.")
    platform: str | None = strawberry.field(default=None, description="The operating system.")
    hostname: str | None = strawberry.field(default=None, description="The machine's name.")
    cpu_count: int | None = strawberry.field(default=None, description="How many processors it has.")
    memory_bytes: Int64 | None = strawberry.field(default=None, description="How much memory it has, in bytes.")
    gpus: list[str] = strawberry.field(default_factory=list, description="Its GPUs.")
    packages: list[PackageInput] = strawberry.field(
        default_factory=list, description="The installed packages, at most 5,000."
    )

    def to_row(self) -> attempts.Environment:
        """The row. Raises `Invalid`."""
        return attempts.checked_environment(
            attempts.Environment(
                python=self.python,
                platform=self.platform,
                hostname=self.hostname,
                cpu_count=self.cpu_count,
                memory_bytes=self.memory_bytes,
                gpus=self.gpus,
                packages={package.name: package.version for package in self.packages},
            )
        )
