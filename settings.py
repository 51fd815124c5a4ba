"""Every deployment choice, read once from RUNSTONE_* variables when a process starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
WEB = frozenset({"http", "https"})
DIGITS_MAX = 20  # of a whole number


class SettingsError(ValueError):
    """A variable that cannot be used; the message names it and says what to set."""


@dataclass(frozen=True)  # without slots, so that the class carries its defaults
class S3Settings:
    """Where artifact bytes live. Clients PUT to `public_endpoint_url`, the worker reads from `endpoint_url`."""

    endpoint_url: str | None = None  # None: the endpoint of AWS
    public_endpoint_url: str | None = None  # None: the same as `endpoint_url`
    bucket: str = "runstone"
    prefix: str = ""
    region: str = "us-east-1"
    access_key_id: str | None = None  # None: the credentials chain of botocore
    secret_access_key: str | None = field(default=None, repr=False)
    path_style: bool = False
    sse: str | None = None  # a ServerSideEncryption value, such as "AES256"


@dataclass(frozen=True)
class Settings:
    """One object, built at the start of a process and passed down; None means "use the embedded one"."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 4747
    public_url: str | None = None  # what people open; None: http://host:port
    allowed_hosts: tuple[str, ...] = ()  # Host headers to answer besides loopback and the one in public_url
    database_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    s3: S3Settings | None = None
    database_pool_max: int = 8
    statement_timeout_s: int = 10
    read_timeout_s: int = 5  # of a statement of a query
    query_timeout_s: int = 20  # of a query as a whole
    query_cost_max: int = 1_000_000
    token_cost_per_minute: int = 20_000_000
    request_body_bytes_max: int = 4 * 1024 * 1024
    artifact_size_bytes_max: int = 1024**4
    upload_expiry_s: int = 24 * 3600
    export_expiry_s: int = 7 * 86400
    export_runs_max: int = 1_000_000
    export_points_max: int = 10_000_000_000
    lost_after_s: int = 300
    graphiql: bool = True
    introspection: bool = True

    @property
    def url(self) -> str:
        """The address that people and clients use, without a trailing slash."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK

    @property
    def token_path(self) -> Path:
        """The 0600 file that holds the token made on first start; the SDK of the same user picks it up."""
        return self.home / "token"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read RUNSTONE_* variables. Raises `SettingsError` that names the variable."""
        read = _Reader(env)
        return cls(
            home=read.folder("HOME", "~/.runstone"),
            host=read.text("HOST") or cls.host,
            port=read.whole("PORT", cls.port, 1, 65535),
            public_url=read.url("PUBLIC_URL", {"http", "https"}),
            allowed_hosts=tuple(host.strip() for host in (read.text("ALLOWED_HOSTS") or "").split(",") if host.strip()),
            database_url=read.url("DATABASE_URL", {"postgres", "postgresql"}),
            redis_url=read.url("REDIS_URL", {"redis", "rediss", "unix"}),
            s3=_s3(read),
            database_pool_max=read.whole("DATABASE_POOL_MAX", cls.database_pool_max, 2, 1000),
            statement_timeout_s=read.whole("STATEMENT_TIMEOUT_S", cls.statement_timeout_s, 1, 3600),
            read_timeout_s=read.whole("READ_TIMEOUT_S", cls.read_timeout_s, 1, 3600),
            query_timeout_s=read.whole("QUERY_TIMEOUT_S", cls.query_timeout_s, 1, 3600),
            query_cost_max=read.whole("QUERY_COST_MAX", cls.query_cost_max, 1_000, 10**12),
            token_cost_per_minute=read.whole("TOKEN_COST_PER_MINUTE", cls.token_cost_per_minute, 10_000, 10**15),
            request_body_bytes_max=read.whole("REQUEST_BODY_BYTES_MAX", cls.request_body_bytes_max, 1024, 1 << 30),
            artifact_size_bytes_max=read.whole("ARTIFACT_SIZE_BYTES_MAX", cls.artifact_size_bytes_max, 1, 5 * 1024**4),
            upload_expiry_s=read.whole("UPLOAD_EXPIRY_S", cls.upload_expiry_s, 1, 30 * 86400),
            export_expiry_s=read.whole("EXPORT_EXPIRY_S", cls.export_expiry_s, 60, 10 * 365 * 86400),
            export_runs_max=read.whole("EXPORT_RUNS_MAX", cls.export_runs_max, 1, 1_000_000_000),
            export_points_max=read.whole("EXPORT_POINTS_MAX", cls.export_points_max, 1, 1 << 62),
            lost_after_s=read.whole("LOST_AFTER_S", cls.lost_after_s, 1, 30 * 86400),
            graphiql=read.flag("GRAPHIQL", cls.graphiql),
            introspection=read.flag("INTROSPECTION", cls.introspection),
        )


def _s3(read: "_Reader") -> S3Settings | None:
    """The user's own store when any RUNSTONE_S3_* variable is set, else None."""
    if not read.any_of("S3_"):
        return None
    return S3Settings(
        endpoint_url=read.url("S3_ENDPOINT_URL", {"http", "https"}),
        public_endpoint_url=read.url("S3_PUBLIC_ENDPOINT_URL", {"http", "https"}),
        bucket=read.text("S3_BUCKET") or S3Settings.bucket,
        prefix=(read.text("S3_PREFIX") or "").strip("/"),
        region=read.text("S3_REGION") or S3Settings.region,
        access_key_id=read.text("S3_ACCESS_KEY_ID"),
        secret_access_key=read.text("S3_SECRET_ACCESS_KEY"),
        path_style=read.flag("S3_PATH_STYLE", False),
        sse=read.text("S3_SSE"),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one RUNSTONE_* variable at a time; an empty one counts as absent."""

    env: Mapping[str, str]

    def text(self, name: str) -> str | None:
        return self.env.get(f"RUNSTONE_{name}") or None

    def folder(self, name: str, default: str) -> Path:
        text = self.text(name) or default
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError as error:
            raise SettingsError(f"RUNSTONE_{name} is {text!r}, and there is no such user on this machine") from error

    def any_of(self, prefix: str) -> bool:
        return any(value for name, value in self.env.items() if name.startswith(f"RUNSTONE_{prefix}"))

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        text = self.text(name)
        if text is None:
            return default
        is_whole = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
        if not is_whole or not least <= int(text) <= most:
            raise SettingsError(f"RUNSTONE_{name} is {text!r}; set a whole number from {least} to {most}")
        return int(text)

    def flag(self, name: str, default: bool) -> bool:
        text = self.text(name)
        if text is None:
            return default
        if text.lower() not in {"1", "0", "true", "false", "yes", "no", "on", "off"}:
            raise SettingsError(f"RUNSTONE_{name} is {text!r}; set on or off")
        return text.lower() in {"1", "true", "yes", "on"}

    def url(self, name: str, schemes: set[str]) -> str | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError as error:
            raise SettingsError(f"RUNSTONE_{name} is not a URL: {error}") from error
        if parts.scheme not in schemes:
            raise SettingsError(f"RUNSTONE_{name} must start with one of {', '.join(sorted(schemes))}://")
        if parts.scheme in WEB and (not parts.hostname or not text.isprintable() or " " in text):
            raise SettingsError(f"RUNSTONE_{name} names no host; set it as {parts.scheme}://host:port")
        return text
