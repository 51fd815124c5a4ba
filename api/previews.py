"""Previews: which files a page may show, and as what. What could run in a browser is none of them."""

from enum import Enum
from typing import Final


class PreviewKind(Enum):
    """What a page may show of a file."""

    TEXT = "TEXT"
    JSON = "JSON"
    CSV = "CSV"
    PNG = "PNG"
    JPEG = "JPEG"


# What a file is taken for, by the end of its name, or else by what its logger said it is. Nothing that could run.
KIND_OF_END: Final = {
    **dict.fromkeys(("txt", "log", "md", "yaml", "yml", "toml", "ini", "py", "sh", "patch", "diff"), PreviewKind.TEXT),
    "json": PreviewKind.JSON,
    "csv": PreviewKind.CSV,
    "png": PreviewKind.PNG,
    **dict.fromkeys(("jpg", "jpeg"), PreviewKind.JPEG),
}
KIND_OF_TYPE: Final = {
    "text/plain": PreviewKind.TEXT,
    "application/json": PreviewKind.JSON,
    "text/csv": PreviewKind.CSV,
    "image/png": PreviewKind.PNG,
    "image/jpeg": PreviewKind.JPEG,
}
IMAGES: Final = {PreviewKind.PNG: "image/png", PreviewKind.JPEG: "image/jpeg"}


def kind_of(path: str, media_type: str | None) -> PreviewKind | None:
    """What the file is taken for; None when a page does not show it."""
    stem, _, end = path.rsplit("/", 1)[-1].rpartition(".")
    by_end = KIND_OF_END.get(end.lower()) if stem else None
    return by_end or KIND_OF_TYPE.get((media_type or "").split(";")[0].strip().lower())


def answered_as(kind: PreviewKind) -> str:
    """The media type that the store answers with."""
    return IMAGES.get(kind, "text/plain")
