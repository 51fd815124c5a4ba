"""The S3 store: OpenStack Swift with its S3 API, all of it in one process of ours (`deploy.local.swift_server`)."""

import errno
import json
import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.errors import CannotStart
from deploy.local.home import Home, remove
from deploy.local.keep import CODE, Keeper, Program, answers
from settings import S3Settings, Settings

ACCESS_KEY_ID = "runstone:s3"  # Swift's account and user
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not chosen
NOT_ITS_BUSINESS = ("RUNSTONE_", "AWS_", "COVERAGE_")  # our settings, keys to other stores, what measures our code
OWN_STORE = (
    "point RUNSTONE_S3_ENDPOINT_URL, RUNSTONE_S3_BUCKET, RUNSTONE_S3_ACCESS_KEY_ID and "
    "RUNSTONE_S3_SECRET_ACCESS_KEY at your own S3 store"
)


async def start(keeper: Keeper, home: Home, settings: Settings) -> S3Settings:
    """Start the store, with its bucket, and return where it is. Raises `CannotStart`."""
    _check_installed()
    folder = home.folder("s3")
    _check_attributes(folder)
    # Upload links carry the port. Where others reach it through a firewall it is the one after the API's.
    port = await home.port("s3_port", settings.host, preferred=None if settings.is_loopback else settings.port + 1)
    secret = home.secret("s3_secret")
    s3 = S3Settings(
        endpoint_url=url_of(LOOPBACK_OF.get(settings.host, settings.host), port),
        public_endpoint_url=url_of(public_host(settings), port),
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=secret,
        path_style=True,
    )
    config = {
        "folder": str(folder),
        "host": settings.host,
        "port": port,
        "bucket": s3.bucket,
        "region": s3.region,
        "secret": secret,
    }
    await keeper.start(
        Program(
            name="The S3 store",
            argv=(sys.executable, "-P", "-m", "deploy.local.swift_server"),
            stdin=json.dumps(config).encode(),
            env={**_environment(), "PYTHONPATH": str(CODE)},
            log=home.logs / "s3.log",
            ready=partial(answers, f"{s3.endpoint_url}/healthcheck"),
            patient=True,
        )
    )
    return s3


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_ITS_BUSINESS)}


def _check_installed() -> None:
    if sys.platform != "linux":
        raise CannotStart(f"The embedded S3 store needs Linux. Here, {OWN_STORE}.")
    if find_spec("swift") is None:
        raise CannotStart(
            f"The embedded S3 store is not installed. Run pip install 'runstone[server,local]', or {OWN_STORE}."
        )


def _check_attributes(folder: Path) -> None:
    """Swift keeps what it knows about an object in extended attributes of the file."""
    probe = folder / "probe"
    probe.touch(mode=0o600)
    try:
        os.setxattr(probe, "user.runstone", b"probe")
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.EPERM}:
            raise
        raise CannotStart(
            f"The file system of {folder} has no extended attributes, which the embedded S3 store needs. "
            f"Choose a folder on another disk with RUNSTONE_HOME, or {OWN_STORE}."
        ) from error
    finally:
        remove(probe)


def public_host(settings: Settings) -> str:
    """The host in upload and download links."""
    if settings.public_url:
        return urlsplit(settings.public_url).hostname or settings.host
    if settings.host in LOOPBACK_OF:
        raise CannotStart(
            f"RUNSTONE_HOST is {settings.host}: set RUNSTONE_PUBLIC_URL to the address that people use, "
            "such as http://runstone.example:4747, because upload links carry it."
        )
    return settings.host


def url_of(host: str, port: int) -> str:
    """The address of a server there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
