"""The benchmarks ask what the schema has, and notice what a contender loses."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

import benchmarks
from benchmarks import live
from benchmarks.load import Load, generating
from benchmarks.report import Section
from benchmarks.server import LOG, reached
from benchmarks.wire import Refused
from tests.conftest import Server

SCHEMA = Path(__file__).parents[2] / "schema.graphql"


def documents() -> Iterator[tuple[str, str]]:
    """(where, text) of each GraphQL constant."""
    for module in pkgutil.iter_modules(benchmarks.__path__, "benchmarks."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, str) and value.lstrip().startswith(("query ", "mutation ", "subscription ")):
                yield f"{module.name}.{name}", value


def test_every_document_is_valid_in_the_schema() -> None:
    schema, found = build_schema(SCHEMA.read_text()), list(documents())

    assert len(found) > 5
    assert {where: errors for where, text in found if (errors := validate(schema, parse(text)))} == {}


async def test_a_load_is_counted_and_a_missing_point_is_noticed(server: Server) -> None:
    async with reached(server.settings) as runstone:
        run_ids = [await runstone.create_run() for _ in range(live.RUNS)]
        talkers = live.talkers(runstone.door, LOG, {}, run_ids, b"LogMetricsPayload")

        with generating() as load:
            outcome = await load.drive(Load(runstone.door, talkers, seconds=1.0, per_s=100))

        assert outcome.failures == ()
        assert sum(outcome.answered) > 0
        await live.expect(runstone, run_ids, outcome.answered)
        with pytest.raises(Refused):
            await live.expect(runstone, run_ids, [count + 1 for count in outcome.answered])


async def test_a_load_that_is_refused_says_so(server: Server) -> None:
    async with reached(server.settings) as runstone:
        talkers = live.talkers(runstone.door, LOG, {}, ["no-run"], b"LogMetricsPayload")

        with generating() as load:
            outcome = await load.drive(Load(runstone.door, talkers[:1], seconds=1.0))

    assert outcome.answered == (0,)
    assert "VALIDATION" in outcome.failures[0]


def test_a_contender_that_fails_is_reported_and_the_goal_is_not_met() -> None:
    section = Section("work", "how")
    section.add("ours", points_per_s=[1.0, 3.0, 2.0])

    with section.trying("theirs"):
        raise Refused("503: too much")
    section.at_least("twice as fast", section.ratio("points/s", "ours", "theirs"), 2)

    assert section.rows[1].note == "failed: Refused: 503: too much"
    assert section.median("points/s", "ours") == 2
    assert section.goals[0].verdict == "not measured"
