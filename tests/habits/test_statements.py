"""Every statement prepares against the real schema, every rule has a name, every name has a failure."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import runstone
from api.errors import BY_FAILURE
from api.schema import contract
from db import errors
from db.pool import Pool

ROOT = Path(__file__).parents[2]
STATEMENT = re.compile(r"\s*(select|insert|update|delete|with)\b", re.IGNORECASE)


def statements() -> Iterator[tuple[str, str]]:
    """(where, text) of each SQL constant of `db`."""
    for path in sorted((ROOT / "db").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                text = node.value.value
                if isinstance(text, str) and STATEMENT.match(text):
                    [target] = node.targets
                    yield f"{path.name}:{ast.unparse(target)}", text


async def test_every_statement_prepares(pool: Pool) -> None:
    found = list(statements())
    assert len(found) > 50
    async with pool.acquire() as conn:
        for where, text in found:
            try:
                await conn.prepare(text)
            except Exception as error:
                raise AssertionError(f"{where}: {error}") from error


NAMED = """
    select conname from pg_constraint
    join pg_class on pg_class.oid = conrelid
    where connamespace = 'public'::regnamespace and contype in ('c', 'u', 'f', 'p', 'x')
        and relname <> 'migration'
"""


async def test_constraints_of_failures_exist(pool: Pool) -> None:
    constraints = {row["conname"] for row in await pool.fetch(NAMED)}
    raised = set()
    for path in (ROOT / "db" / "migrations").glob("*.sql"):
        raised |= set(re.findall(r"constraint = '(\w+)'", path.read_text()))
    assert set(errors.BY_CONSTRAINT) <= constraints | raised


def test_every_failure_has_one_name_everywhere() -> None:
    shown = {name.__name__ for name in BY_FAILURE}
    for failure, shown_as in BY_FAILURE.items():
        assert failure.__name__ == shown_as.__name__
        assert issubclass(getattr(runstone, failure.__name__), runstone.RunstoneError)
    for failure in errors.BY_CONSTRAINT.values():
        assert failure.__name__ in shown


def test_every_result_can_say_what_is_common() -> None:
    sdl = contract()
    for name, members in re.findall(r"union (\w+Result) = (.+)", sdl):
        for common in ("Unavailable", "Invalid"):
            assert common in members, f"{name} cannot say {common}"
