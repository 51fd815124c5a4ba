"""Settings as environment variables, the way they travel to our child processes: secrets never go into arguments."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from deploy.local.keep import CODE
from settings import S3Settings, Settings


def of(settings: Settings) -> dict[str, str]:
    """The RUNSTONE_* variables from which `Settings.from_env` makes the same settings."""
    return _named("RUNSTONE_", settings) | (_named("RUNSTONE_S3_", settings.s3) if settings.s3 else {})


def for_child(settings: Settings) -> dict[str, str]:
    """The whole environment of a process that runs our code with these settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTONE_")}
    return {**ours, **of(settings), "PYTHONPATH": str(CODE)}


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """While the block runs, `of_running` finds these settings: in a 0600 file, because they hold secrets."""
    path = _announcement(settings)
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(of(settings), file)
    new.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def of_running(settings: Settings) -> Settings | None:
    """The completed settings of the Runstone that runs on `settings.home`; None when none does."""
    try:
        return Settings.from_env(json.loads(_announcement(settings).read_text()))
    except (FileNotFoundError, ValueError):
        return None


def _announcement(settings: Settings) -> Path:
    return settings.home / "running.json"


def _named(prefix: str, values: Settings | S3Settings) -> dict[str, str]:
    given = {field.name: _text(getattr(values, field.name)) for field in fields(values)}
    return {f"{prefix}{name.upper()}": text for name, text in given.items() if text is not None}


def _text(value: object) -> str | None:
    match value:
        case bool():
            return "on" if value else "off"
        case tuple():
            return ",".join(value)
        case str() | int() | float() | Path():
            return str(value)
        case _:
            return None
