"""SHA-256 digests: the identity of bytes."""

import base64


def text(digest: bytes) -> str:
    """As people and the API write it: "sha256:<64 hex digits>"."""
    return f"sha256:{digest.hex()}"


def header(digest: bytes) -> str:
    """As the store's checksum header carries it: base64."""
    return base64.b64encode(digest).decode()
