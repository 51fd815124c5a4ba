"""The ready-made operations of GraphiQL are valid, so that none of them greets a newcomer with an error."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate
from graphql.execution import get_variable_values

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "dashboard" / "src" / "graphiql" / "examples").glob("*.graphql"))
SOME_ID = "01931e2f-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema((ROOT / "schema.graphql").read_text())


def variables_of(example: Path) -> dict[str, Any]:
    """Its variables, with an id in place of the words that the page replaces."""
    given = example.with_suffix(".json")
    found: dict[str, Any] = json.loads(re.sub(r"<[a-z ]* ?id>", SOME_ID, given.read_text())) if given.exists() else {}
    return found


def operations(example: Path) -> list[OperationDefinitionNode]:
    return [node for node in parse(example.read_text()).definitions if isinstance(node, OperationDefinitionNode)]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_valid(example: Path, schema: GraphQLSchema) -> None:
    assert validate(schema, parse(example.read_text())) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_has_the_variables_it_asks_for(example: Path, schema: GraphQLSchema) -> None:
    given = variables_of(example)
    wanted = [node for operation in operations(example) for node in operation.variable_definitions or ()]

    assert set(given) <= {node.variable.name.value for node in wanted}
    for operation in operations(example):
        assert not isinstance(get_variable_values(schema, operation.variable_definitions or (), given), list)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_begins_with_a_title_and_a_sentence(example: Path) -> None:
    title, sentence, *_ = example.read_text().splitlines()

    assert re.fullmatch(r"# [A-Z][^.]{2,40}", title)
    assert re.fullmatch(r"# [A-Z].{10,120}\.", sentence)


@pytest.mark.parametrize("given", [path.with_suffix(".json") for path in EXAMPLES], ids=lambda path: path.stem)
def test_example_words_are_known_to_the_page(given: Path) -> None:
    known = (ROOT / "dashboard" / "src" / "graphiql" / "variables.ts").read_text()
    words = re.findall(r"<([^>]*)>", given.read_text()) if given.exists() else []

    assert all(re.search(rf"[(|]{re.escape(word)}[)|]", known) for word in words)


def test_every_variables_file_belongs_to_an_example() -> None:
    files = (ROOT / "dashboard" / "src" / "graphiql" / "examples").glob("*.json")

    assert {path.stem for path in files} <= {path.stem for path in EXAMPLES}
