"""Every input of the schema with values that nobody should send: taken or refused, and never a fault of ours."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from db.access import Role
from tests.conftest import People

SCHEMA: Final = build_schema((Path(__file__).parents[2] / "schema.graphql").read_text())

HOSTILE: Final[tuple[Any, ...]] = (
    "", "a\0b", "\ud800", "\u202ex", "x" * 20_000, "(" * 500, "NaN", "eyJ4IjoxfQ==", "9999-12-31T23:59:59.999999-14:00",
    -1, 2**63, 1e308, None, {},
)  # fmt: skip
MANY: Final = 10_001
SOME: Final = 5  # of the thousands for a selection of runs, one in so many

# Where the fields of a type are found.
DOORS: Final = {
    "Query": "%s",
    "Project": "project(id: $projectId) { %s }",
    "Experiment": "experiment(id: $experimentId) { %s }",
    "Run": "run(id: $runId) { %s }",
    "Mutation": "%s",
}
KNOWN: Final = (
    "query ($id: ID!) { run(id: $id) { runId: id project { projectId: id } experiment { experimentId: id } } }"
)


def fields() -> Iterator[tuple[str, str]]:
    """The fields that have arguments."""
    for owner in DOORS:
        for name, field in fields_of(owner).items():
            if field.args:
                yield owner, name


def fields_of(owner: str) -> dict[str, GraphQLField]:
    """Those of an object, by name."""
    found = SCHEMA.type_map[owner]
    assert isinstance(found, GraphQLObjectType)
    fields: dict[str, GraphQLField] = found.fields
    return fields


@pytest.mark.parametrize(("owner", "name"), list(fields()))
async def test_no_value_is_a_fault_of_ours(people: People, owner: str, name: str) -> None:
    client = await people.member(await people.project(), Role.OWNER)
    run = (await client.ask(KNOWN, id=await client.create_run()))["run"]
    known = {"runId": run["runId"], **run["project"], **run["experiment"]}

    seen = set() if name == "runs" else {"RunSelection"}  # which is large, and the same everywhere
    cases = combined(fields_of(owner)[name].args, known, seen)
    for arguments in islice(cases, 0, None, 1 if seen else SOME):
        answer = await client.post_raw(request(owner, name, arguments, known))

        shown = json.dumps(arguments)[:300]
        assert answer.status_code < 500, (shown, answer.text)
        assert '"INTERNAL"' not in answer.text, (shown, answer.text)


def combined(
    inputs: dict[str, GraphQLArgument] | dict[str, GraphQLInputField], known: dict[str, str], seen: set[str]
) -> Iterator[dict[str, Any]]:
    """Inputs of which one is hostile and the others are what must be there."""
    for name, given in inputs.items():
        for value in hostile(given.type, known, seen):
            yield {**needed(inputs, known), name: value}


def hostile(type_: GraphQLInputType, known: dict[str, str], seen: set[str]) -> Iterator[Any]:
    """Hostile values for an input, and for all that it consists of; each type of input once."""
    yield from HOSTILE
    bare = get_nullable_type(type_)
    if isinstance(bare, GraphQLList):
        yield [example(bare.of_type, "", known)] * MANY
        yield from ([value] for value in hostile(bare.of_type, known, seen))
    elif isinstance(bare, GraphQLInputObjectType) and bare.name not in seen:
        seen.add(bare.name)
        yield from combined(bare.fields, known, seen)


def needed(inputs: dict[str, GraphQLArgument] | dict[str, GraphQLInputField], known: dict[str, str]) -> dict[str, Any]:
    """Examples of the inputs that cannot be left out."""
    return {name: example(given.type, name, known) for name, given in inputs.items() if is_required(given)}


def is_required(given: GraphQLArgument | GraphQLInputField) -> bool:
    """Whether it cannot be left out."""
    return is_required_argument(given) if isinstance(given, GraphQLArgument) else is_required_input_field(given)


def example(type_: GraphQLInputType, name: str, known: dict[str, str]) -> Any:
    """Something that is allowed."""
    bare = get_nullable_type(type_)
    if isinstance(bare, GraphQLList):
        return [example(bare.of_type, name, known)]
    if isinstance(bare, GraphQLInputObjectType):
        return needed(bare.fields, known)
    if isinstance(bare, GraphQLEnumType):
        return next(iter(bare.values))
    assert is_leaf_type(bare)
    return known.get(name) or {"ID": known["runId"], "Int": 1, "Int64": 1, "Float": 1, "Boolean": True}.get(
        bare.name, "x"
    )


def request(owner: str, name: str, arguments: dict[str, Any], known: dict[str, str]) -> bytes:
    """The body of a request for the field with these arguments."""
    field = fields_of(owner)[name]
    types = {f"_{argument}": field.args[argument].type for argument in arguments}
    ids = {id: "ID!" for id in known if f"${id}" in DOORS[owner]}
    declared = ", ".join(f"${variable}: {type_}" for variable, type_ in {**types, **ids}.items())
    given = ", ".join(f"{argument}: $_{argument}" for argument in arguments)
    asked = DOORS[owner] % f"{name}({given}) {selection(field.type)}"
    variables = {f"_{argument}": value for argument, value in arguments.items()} | {id: known[id] for id in ids}
    kind = "mutation" if owner == "Mutation" else "query"
    return json.dumps({"query": f"{kind} ({declared}) {{ {asked} }}", "variables": variables}).encode()


def selection(type_: GraphQLOutputType) -> str:
    """What is asked of the answer."""
    named = get_named_type(type_)
    if is_leaf_type(named):
        return ""
    if isinstance(named, GraphQLUnionType):
        return "{ __typename ... on UserError { code message path limit } }"
    of_page = isinstance(named, GraphQLObjectType) and "totalCount" in named.fields
    return "{ __typename nodes { __typename } pageInfo { endCursor } totalCount }" if of_page else "{ __typename }"
