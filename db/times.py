"""Times: aware, UTC, within what the field can mean."""

from datetime import UTC, datetime
from typing import Final

from db.errors import Invalid

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)


def checked(time: datetime | None, path: str) -> datetime | None:
    """`time` in UTC. Raises `Invalid` when it has no zone or lies outside the years 1970 to 9999."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise Invalid(f"{path} has no time zone", path=path, hint="send RFC 3339 with an offset, such as ...Z")
    if not EARLIEST <= time <= LATEST:
        raise Invalid(f"{path} is {time.isoformat()}", path=path, limit="the years 1970 to 9999")
    return time.astimezone(UTC)
