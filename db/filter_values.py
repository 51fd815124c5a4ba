"""Values in filter texts: from a token to what a field of some kind is compared with."""

import math
import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final
from uuid import UUID

from db import times
from db.attempts import RunStatus
from db.conditions import Literal
from db.fields import Kind
from db.filter_tokens import Is, Mistake, Token, quoted

NON_FINITE: Final = {"NAN": math.nan, "INF": math.inf, "INFINITY": math.inf}
RELATIVE: Final = re.compile(r"([+-][0-9]{1,6})\s*([smhdw])")
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# What MLflow's examples ask for, and no run of ours has.
FOREIGN_STATUSES: Final = {"ACTIVE", "SCHEDULED"}


def read_value(token: Token, kind: Kind, field: str) -> Literal:
    """The token as a value of this kind, with which the field of this name is compared. Raises `Mistake`."""
    match kind, _literal(token):
        case (Kind.ANY | Kind.FLAG, bool() as value) | (Kind.ANY | Kind.TEXT, str() as value):
            return value
        case Kind.FLAG, _:
            pass
        case (_, bool() | None):
            pass
        case Kind.ANY | Kind.NUMBER, int() | float() as value:
            return value
        case Kind.STATUS, str() as value:
            return _status(value, token)
        case Kind.ID, str() as value:
            return _id(value, token)
        case Kind.TIME, str() as value:
            return _time(value, token)
        case Kind.TIME, int() | float() as value:
            return _of_milliseconds(value, token)
    raise _mismatch(token, kind, field)


def _literal(token: Token) -> str | int | float | bool | None:
    """The value that the token is; None when it is none."""
    if token.kind is Is.TEXT:
        return token.text
    if token.kind is Is.NUMBER:
        return token.number
    if token.word in NON_FINITE:
        return NON_FINITE[token.word]
    return {"TRUE": True, "FALSE": False}.get(token.word)


def _mismatch(token: Token, kind: Kind, field: str) -> Mistake:
    """Why the token is no value for the field."""
    if token.word == "NULL":
        return Mistake("null is not a value", token.position, suggestions=["IS NULL", "IS NOT NULL"])
    wants_text = kind in {Kind.ANY, Kind.TEXT, Kind.STATUS, Kind.ID, Kind.TIME}
    near = [quoted(token.source)] if wants_text and token.kind in {Is.NAME, Is.NUMBER} else []
    found = token.source[:50] or "the end"
    return Mistake(f"{field} is compared with {kind.value}, not with {found}", token.position, suggestions=near)


def _status(text: str, token: Token) -> str:
    status = text.upper()
    if status not in {*RunStatus, *FOREIGN_STATUSES}:
        near = get_close_matches(status[:50], RunStatus, n=1) or list(RunStatus)
        raise Mistake(
            f"there is no status {token.source[:50]}", token.position, suggestions=[quoted(one) for one in near]
        )
    return status


def _id(text: str, token: Token) -> UUID:
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or text.lower() not in {str(found), found.hex}:
        raise Mistake(f"{token.source[:50]} is not an id, which is a UUID", token.position)
    return found


def _time(text: str, token: Token) -> datetime:
    """The time of ISO 8601, in UTC when it names no zone, or so long before or after now."""
    relative = RELATIVE.fullmatch(text)
    try:
        if text.lower() == "now":
            return datetime.now(UTC)
        if relative:
            return _bounded(datetime.now(UTC) + timedelta(**{UNITS[relative[2]]: int(relative[1])}), token)
        time = datetime.fromisoformat(text)
        return _bounded(time if time.tzinfo else time.replace(tzinfo=UTC), token)
    except (ValueError, OverflowError) as error:
        raise Mistake(f"{token.source[:50]} is not {Kind.TIME.value}", token.position) from error


def _of_milliseconds(number: float, token: Token) -> datetime:
    try:
        return _bounded(times.EARLIEST + timedelta(milliseconds=number), token)
    except (ValueError, OverflowError) as error:
        raise Mistake(
            f"{token.source[:50]} is no time in milliseconds", token.position, limit="the years 1970 to 9999"
        ) from error


def _bounded(time: datetime, token: Token) -> datetime:
    if not times.EARLIEST <= time <= times.LATEST:
        raise Mistake("the time is out of range", token.position, limit="the years 1970 to 9999")
    return time.astimezone(UTC)
