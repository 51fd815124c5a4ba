"""Projects: the unit of access and storage."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db import access, ids
from db.access import Role
from db.pool import Conn

NAME_LIMIT = "1 to 100 of a-z 0-9 . _ -, beginning and ending with a letter or digit"


@dataclass(frozen=True, slots=True)
class Project:
    """A row of `project`."""

    id: UUID
    name: str
    description: str
    created_by: UUID
    created_at: datetime


INSERT = """
    insert into project (id, name, description, created_by)
    values ($1, $2, $3, $4)
    returning id, name, description, created_by, created_at
"""


async def insert(conn: Conn, account_id: UUID, name: str, description: str) -> Project:
    """A new project owned by the account. Raises `NameTaken`."""
    row = await conn.fetchrow(INSERT, ids.new(), name, description, account_id)
    assert row is not None
    await access.grant(conn, row["id"], account_id, Role.OWNER)
    return Project(**row)
