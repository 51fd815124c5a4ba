"""The folder says in one line why it cannot be used, and remembers what must not change."""

import os
import socket
from pathlib import Path

import pytest

from deploy.local import environment, home
from deploy.local.errors import CannotStart
from deploy.local.home import free_port, locked
from deploy.local.postgres import remove_stale_pid_file
from deploy.local.swift import public_host
from settings import S3Settings, Settings, SettingsError


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CannotStart, match=r"Cannot write to .*RUNSTONE_HOME"), locked(tmp_path / "file" / "home"):
        pass


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "FREE_BYTES_MIN", 1 << 60)

    with pytest.raises(CannotStart, match=r"disk of .* is full: \d+ MB are free"), locked(tmp_path):
        pass


def test_the_folder_of_a_user_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    with locked(tmp_path) as held:
        assert held.folder("postgres").stat().st_mode & 0o777 == 0o700

    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_secrets_are_random_and_stay(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        first = held.secret("one"), held.secret("two")
    with locked(tmp_path) as held:
        second = held.secret("one"), held.secret("two")

    assert first == second
    assert len(set(first)) == 2
    assert (tmp_path / "embedded.json").stat().st_mode & 0o777 == 0o600


async def test_a_port_stays_until_somebody_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "PORT_WAIT_S", 0.1)
    with locked(tmp_path) as held:
        first = await held.port("port", "127.0.0.1")
        assert await held.port("port", "127.0.0.1") == first
        with socket.create_server(("127.0.0.1", first)):
            assert await held.port("port", "127.0.0.1") != first


async def test_the_preferred_port_is_taken_when_free(tmp_path: Path) -> None:
    preferred = free_port("127.0.0.1")

    with locked(tmp_path) as held:
        assert await held.port("port", "127.0.0.1", preferred) == preferred


def test_a_foreign_address_is_told() -> None:
    with pytest.raises(CannotStart, match="RUNSTONE_HOST"):
        free_port("192.0.2.1")


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 - 1], ids=["ours", "nobody"])
def test_a_stale_pid_file_is_removed(tmp_path: Path, pid: int) -> None:
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{pid}\n/somewhere\n")

    remove_stale_pid_file(tmp_path)

    assert not pid_file.exists()


async def test_the_pid_file_of_a_living_postmaster_stays(running: Settings) -> None:
    data = running.home / "postgres/data"

    remove_stale_pid_file(data)

    assert (data / "postmaster.pid").exists()


def test_settings_travel_in_the_environment(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        host="::1",
        port=5000,
        public_url="https://runstone.example",
        allowed_hosts=("a.example", "b.example"),
        database_url="postgresql://own",
        redis_url="redis://own",
        s3=S3Settings(endpoint_url="http://s3", access_key_id="id", secret_access_key="secret", path_style=True),
        statement_timeout_s=7,
        graphiql=False,
    )

    assert Settings.from_env(environment.of(settings)) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNSTONE_PORT", "9" * 5_000),
        ("RUNSTONE_HOME", "~nobody-of-this-name/runstone"),
        ("RUNSTONE_PUBLIC_URL", "http://"),
        ("RUNSTONE_PUBLIC_URL", "http://a b"),
        ("RUNSTONE_S3_ENDPOINT_URL", "http://:9000"),
        ("RUNSTONE_DATABASE_URL", "postgresql://host:99999/db"),
        ("RUNSTONE_REDIS_URL", "redis://host:x"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({name: value})


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        (Settings(home=Path("/")), "127.0.0.1"),
        (Settings(home=Path("/"), host="10.0.0.7"), "10.0.0.7"),
        (Settings(home=Path("/"), host="0.0.0.0", public_url="http://lab.example:4747"), "lab.example"),
    ],
)
def test_links_carry_an_address_that_people_reach(settings: Settings, host: str) -> None:
    assert public_host(settings) == host


def test_a_wildcard_alone_is_no_address_for_links() -> None:
    with pytest.raises(CannotStart, match="RUNSTONE_PUBLIC_URL"):
        public_host(Settings(home=Path("/"), host="0.0.0.0"))
