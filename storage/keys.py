"""Object keys. No text of a user is ever part of one."""

import re
import secrets
from typing import Final
from uuid import UUID

SHAPE: Final = re.compile(
    r"staging/[0-9a-f]{32}"
    r"|p/[0-9a-f-]{36}/sha256/[0-9a-f]{2}/[0-9a-f]{64}"
    r"|p/[0-9a-f-]{36}/exports/[0-9a-f-]{36}/[0-9a-f]{32}"
)


def content(prefix: str, project_id: UUID, digest: bytes) -> str:
    """Where verified bytes live: one key per project and digest, so that a digest alone opens no other project."""
    return _under(prefix, f"p/{project_id}/sha256/{digest[:1].hex()}/{digest.hex()}")


def staging(prefix: str) -> str:
    """A new key that nobody can guess, for bytes that are not verified."""
    return stagings(prefix) + secrets.token_hex(16)


def stagings(prefix: str) -> str:
    """What all staging keys begin with."""
    return _under(prefix, "staging/")


def exported(prefix: str, project_id: UUID, export_id: UUID) -> str:
    """A new key for a file of an export."""
    return exports(prefix, project_id, export_id) + secrets.token_hex(16)


def exports(prefix: str, project_id: UUID, export_id: UUID) -> str:
    """What the keys of all files of an export begin with."""
    return _under(prefix, f"p/{project_id}/exports/{export_id}/")


def is_ours(prefix: str, key: str) -> bool:
    """Whether we made the key; the bucket may hold what belongs to others."""
    root = _under(prefix, "")
    return key.startswith(root) and SHAPE.fullmatch(key.removeprefix(root)) is not None


def _under(prefix: str, key: str) -> str:
    return f"{prefix}/{key}" if prefix else key
