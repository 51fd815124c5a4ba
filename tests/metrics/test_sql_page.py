"""The statements of docs/sql.md, as a role that may only read."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.metrics.conftest import Lab, block

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
BLOCK = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)

ROLE, LINES, CURVE = BLOCK.findall(PAGE.read_text("utf-8"))


@pytest.fixture
async def reader(lab: Lab) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the page's role."""
    await lab.pool.execute(ROLE)
    conn = await asyncpg.connect(lab.url, user="grafana", password="choose one")
    yield conn
    await conn.close()
    await lab.pool.execute("drop owned by grafana")
    await lab.pool.execute("drop role grafana")


async def test_the_newest_runs_of_an_experiment_are_lines(lab: Lab, reader: asyncpg.Connection) -> None:
    older, newer = await lab.run(), await lab.run()
    await lab.send(older, uuid4(), block(0, [[0.5, 0.25], [9.0, 9.0]], keys=("loss", "accuracy")))
    await lab.compact(older)
    await lab.send(newer, uuid4(), block(0, [[float("nan")]], times=[1_699_999_999_999]))

    rows = await reader.fetch(LINES.replace("'churn'", "'test'").replace("limit 10", "limit 2"))

    assert [(row["metric"], repr(row["value"])) for row in rows] == [("run", "nan"), ("run", "0.5"), ("run", "0.25")]
    assert [row["time"].timestamp() for row in rows] == [1_699_999_999.999, 1_700_000_000, 1_700_000_000.001]
    plan = "\n".join(row[0] for row in await reader.fetch(f"explain {LINES}"))
    assert plan.count("run_id = ANY ((InitPlan") >= 2, "those of other runs are left out before they are read"


async def test_the_newest_attempt_counts(lab: Lab, reader: asyncpg.Connection) -> None:
    run_id = await lab.run()
    await lab.send(run_id, uuid4(), block(0, [[1.0, 2.0, 3.0]]))
    await lab.finish(run_id)
    await lab.compact(run_id)
    await lab.resume(run_id)
    await lab.send(run_id, uuid4(), block(0, [[20.0]], steps=[1]))

    rows = await reader.fetch(re.sub(r"'[0-9a-f-]{36}'", f"'{run_id}'", CURVE))

    assert [tuple(row) for row in rows] == [(0, 1.0), (1, 20.0), (2, 3.0)]


async def test_the_role_reads_and_nothing_else(reader: asyncpg.Connection) -> None:
    for statement in ("select * from token", "select * from chunk", "update run set name = 'mine'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(statement)
