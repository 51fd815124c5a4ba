"""One process that is a whole Swift: its account, container and object servers, and the proxy that speaks S3.

Started by `deploy.local.swift`, with its configuration as JSON on standard input. Where Swift expects a cluster, this
is the smallest one: one device, one replica, servers on random ports of loopback that answer only to this process.
"""

import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eventlet
import eventlet.tpool
import eventlet.wsgi
from swift.common import bufferedhttp, swob, utils
from swift.common.constraints import MAX_REQUEST_LINE
from swift.common.ring import RingBuilder
from swift.common.wsgi import SwiftHttpProtocol, loadapp

from deploy.local.swift_filters import (
    TOKEN_HEADER,
    Cache,
    WsgiApp,
    allow_browsers,
    only_signed,
    require_token,
    with_cache,
)

ACCOUNT = "AUTH_runstone"
BACKENDS = ("account", "container", "object")
DEVICE = "disk"
CONNECTIONS_MAX = 1024
IDLE_S = 60
DAY_S = 86_400
TOMBSTONE_AGE_S = 8 * DAY_S  # a day older than the age at which Swift itself forgets them

SWIFT_CONF = """
[swift-hash]
swift_hash_path_prefix = {hash_prefix}
[storage-policy:0]
name = one
default = yes
"""

BACKEND_CONF = """
[DEFAULT]
swift_dir = {conf}
devices = {devices}
mount_check = false
fallocate_reserve = 100000000
log_level = WARNING
log_custom_handlers = deploy.local.swift_filters.log_to_stderr
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

# Deletes wait for the parts of a large object, or their bytes would stay; 10,000 parts are what S3 allows.
PROXY_CONF = """
[DEFAULT]
swift_dir = {conf}
log_level = WARNING
log_custom_handlers = deploy.local.swift_filters.log_to_stderr
expose_info = false
[pipeline:main]
pipeline = catch_errors healthcheck listing_formats bulk s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
cors_allow_origin = *
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = no
max_upload_part_num = 10000
cors_preflight_allow_origin = *
[filter:tempauth]
use = egg:swift#tempauth
user_runstone_s3 = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
allow_async_delete = false
max_manifest_segments = 10000
max_manifest_size = 33554432
"""


@dataclass(frozen=True, slots=True)
class Config:
    """What `deploy.local.swift` sends."""

    folder: str
    host: str
    port: int
    bucket: str
    region: str
    secret: str

    @property
    def conf(self) -> Path:
        return Path(self.folder, "conf")

    @property
    def devices(self) -> Path:
        return Path(self.folder, "devices")


def main() -> None:
    config = Config(**json.load(sys.stdin))
    for number in (signal.SIGTERM, signal.SIGINT):  # what is acknowledged is on disk, so there is nothing to finish
        signal.signal(number, lambda *_: os._exit(0))
    os.umask(0o077)
    warnings.filterwarnings("ignore", message="capitalize_response_headers is disabled")
    utils.eventlet_monkey_patch()
    listeners = {name: _listen("127.0.0.1", 0) for name in BACKENDS}
    _configure(config, {name: listener.getsockname()[1] for name, listener in listeners.items()})
    token = secrets.token_hex(24)
    _send_token(token)
    for name, listener in listeners.items():
        eventlet.spawn(_serve, listener, require_token(_load(config, name), token))
    store = with_cache(_load(config, "proxy"), Cache())
    _make_bucket(store, config.bucket)
    eventlet.spawn(_sweep_daily, config.devices)
    _serve(_listen(config.host, config.port), allow_browsers(only_signed(store)))


def _configure(config: Config, ports: dict[str, int]) -> None:
    """Write the files that Swift reads; all but the hash prefix, which belongs to the data, are new at each start."""
    for folder in (config.conf, config.devices / DEVICE):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = {"conf": config.conf, "devices": config.devices}
    _write(config.conf / "swift.conf", SWIFT_CONF.format(hash_prefix=_hash_prefix(config)))
    _write(config.conf / "proxy.conf", PROXY_CONF.format(**paths, region=config.region, secret=config.secret))
    utils.set_swift_dir(str(config.conf))
    for name, port in ports.items():
        _write(config.conf / f"{name}.conf", BACKEND_CONF.format(**paths, name=name))
        ring = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
        address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
        ring.add_dev({"region": 1, "zone": 1, "device": DEVICE, "weight": 1.0, **address})
        ring.rebalance()
        ring.get_ring().save(str(config.conf / f"{name}.ring.gz"))


def _hash_prefix(config: Config) -> str:
    """The secret in the names of all files, made with the first of them."""
    path = Path(config.folder, "hash_prefix")
    if not path.exists():
        new = path.with_suffix(".new")
        _write(new, secrets.token_hex(16))
        new.replace(path)
    return path.read_text()


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _send_token(token: str) -> None:
    """Put the token on every request from the proxy to a backend: Swift has no other secret between them."""

    class Connection(bufferedhttp.BufferedHTTPConnection):  # type: ignore[misc]  # swift has no types
        def endheaders(self, *args: Any, **kwargs: Any) -> None:
            self.putheader(TOKEN_HEADER, token)
            super().endheaders(*args, **kwargs)

    bufferedhttp.BufferedHTTPConnection = Connection


def _load(config: Config, name: str) -> WsgiApp:
    app: WsgiApp = loadapp(str(config.conf / f"{name}.conf"), global_conf={"log_name": name})
    return app


def _listen(host: str, port: int) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return eventlet.listen((host, port), family=family, backlog=512, reuse_port=False)


def _serve(listener: Any, app: WsgiApp) -> None:
    quiet = logging.getLogger("swift-requests")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    eventlet.wsgi.server(
        listener,
        app,
        log=quiet,
        protocol=SwiftHttpProtocol,
        custom_pool=eventlet.GreenPool(CONNECTIONS_MAX),
        socket_timeout=IDLE_S,
        capitalize_response_headers=False,  # clients look for "ETag"
        url_length_limit=MAX_REQUEST_LINE,
    )


def _make_bucket(store: WsgiApp, bucket: str) -> None:
    request = swob.Request.blank(
        f"/v1/{ACCOUNT}/{bucket}", environ={"REQUEST_METHOD": "PUT", "swift.authorize_override": True}
    )
    response = request.get_response(store)
    if not response.is_success:
        sys.exit(f"cannot make the bucket {bucket}: {response.status}")


def _sweep_daily(devices: Path) -> None:
    while True:
        eventlet.tpool.execute(sweep, devices, time.time() - TOMBSTONE_AGE_S)
        eventlet.sleep(DAY_S)


def sweep(devices: Path, before_s: float) -> None:
    """Remove the empty files that mark deletes older than that: a replicator would, and one disk has none."""
    for tombstone in _tombstones(devices):
        if float(tombstone.stem.split("_")[0]) < before_s:
            tombstone.unlink(missing_ok=True)
            try:
                tombstone.parent.rmdir()
            except OSError:  # an object lives there again
                continue


def _tombstones(devices: Path) -> Iterator[Path]:
    return devices.glob(f"{DEVICE}/objects/*/*/*/*.ts")


if __name__ == "__main__":
    main()
