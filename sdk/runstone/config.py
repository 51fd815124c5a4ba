"""Where the server is, who is asking, and where things wait until it has them: the RUNSTONE_* variables of a client."""

import hmac
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from runstone.errors import Invalid, Unauthenticated

DEFAULT_URL: Final = "http://127.0.0.1:4747"
FSYNC_S: Final = 1.0
SPOOL_BYTES_MAX: Final = 1024 * 1024 * 1024
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Token:
    """A secret that shows itself only to who asks for the header."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "<token>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def header(self) -> str:
        """What `Authorization` says."""
        return f"Bearer {self._text}"


@dataclass(frozen=True, slots=True)
class Config:
    """A server and, when there is one, the token for it."""

    url: str
    token: Token | None

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.url).hostname in LOOPBACK

    @classmethod
    def read(cls, url: str | None = None, token: str | None = None, env: Mapping[str, str] = os.environ) -> "Config":
        """What is given, else what the environment says. Raises `Invalid`, `Unauthenticated`."""
        address = _checked(url or env.get("RUNSTONE_URL") or DEFAULT_URL)
        text = token or env.get("RUNSTONE_TOKEN")
        config = cls(address, Token(_line(text)) if text else None)
        if text is None and config.is_loopback:
            # The file is for the server of this machine; a token is never sent to a server it was not made for.
            return cls(address, _from_file(home(env) / "token"))
        return config


@dataclass(frozen=True, slots=True)
class Spooling:
    """Where what is logged is kept until the server has it.

    `fsync_s` is how often the disk itself is told to store it, 0 for every call; `bytes_max` bounds the points of one
    writer that are not sent yet; `offline` leaves all of the sending to `runstone sync`.
    """

    folder: Path
    fsync_s: float = FSYNC_S
    bytes_max: int = SPOOL_BYTES_MAX
    offline: bool = False

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> "Spooling":
        """What the environment says. Raises `Invalid`."""
        folder = env.get("RUNSTONE_SPOOL_DIR")
        return cls(
            folder=_folder(folder, "RUNSTONE_SPOOL_DIR") if folder else home(env) / "spool",
            fsync_s=_number(env, "RUNSTONE_SPOOL_FSYNC_S", FSYNC_S),
            bytes_max=int(_number(env, "RUNSTONE_SPOOL_BYTES_MAX", SPOOL_BYTES_MAX)),
            offline=_is_on(env, "RUNSTONE_OFFLINE"),
        )


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise Invalid(f"{name} is {text!r}, not a number from 0 on", path=name)
    return number


def _is_on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() not in {"", "0", "false", "no", "off"}


def home(env: Mapping[str, str] = os.environ) -> Path:
    """The folder of the server of this machine."""
    return _folder(env.get("RUNSTONE_HOME") or "~/.runstone", "RUNSTONE_HOME")


def _folder(text: str, name: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise Invalid(f"{name} is {text!r}, and there is no such user on this machine", path=name) from None


def is_quiet(env: Mapping[str, str] = os.environ) -> bool:
    """Whether progress bars are unwanted."""
    return _is_on(env, "RUNSTONE_QUIET")


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        plain = url.isprintable() and " " not in url and not parts.query and not parts.fragment
        known = plain and parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        known = False
    if not known:
        raise Invalid(f"{url!r} is not the address of a server", hint=f"set RUNSTONE_URL, such as {DEFAULT_URL}")
    if parts.username or parts.password:
        raise Invalid("the address of the server holds a password", hint="use RUNSTONE_TOKEN instead")
    return url.rstrip("/")


def _from_file(path: Path) -> Token | None:
    """The token in the file, None when there is no file. Raises `Unauthenticated` when others may read it."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unauthenticated(f"the token file {path} cannot be read: {error.strerror}") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise Unauthenticated(f"the token file {path} can be read by others", hint=f"run: chmod 600 {path}")
    return Token(_line(text)) if text.strip() else None


def _line(text: str) -> str:
    line = text.strip()
    if not line or not line.isascii() or not line.isprintable() or " " in line:
        raise Unauthenticated("the token is not one line of plain characters", hint="set RUNSTONE_TOKEN again")
    return line
