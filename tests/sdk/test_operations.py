"""What the SDK sends is valid in the schema, and what the schema can answer has a name in the SDK."""

from pathlib import Path

import pytest
from graphql import GraphQLInterfaceType, GraphQLSchema, build_schema, parse, validate

from runstone import errors, operations

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema((ROOT / "schema.graphql").read_text("utf-8"))


@pytest.mark.parametrize("name", operations.names())
def test_every_operation_is_valid_in_the_schema(schema: GraphQLSchema, name: str) -> None:
    assert validate(schema, parse(operations.document(name))) == []


def test_a_document_holds_one_operation_and_only_the_fragments_it_uses() -> None:
    text = operations.document("Heartbeat")

    assert text.count("mutation ") == 1
    assert "fragment Failure" in text
    assert "RunSummary" not in text
    assert "#" not in text


def test_every_failure_of_the_schema_has_an_exception_of_its_name(schema: GraphQLSchema) -> None:
    interface = schema.type_map["UserError"]
    assert isinstance(interface, GraphQLInterfaceType)
    named = {kind.name for kind in schema.get_possible_types(interface)}

    assert named
    assert named == set(errors.BY_TYPENAME)


def test_every_error_code_of_the_schema_has_an_exception(schema: GraphQLSchema) -> None:
    codes = set(schema.type_map["ErrorCode"].values)  # type: ignore[attr-defined]

    assert codes
    assert codes <= set(errors.BY_CODE)


def test_a_failure_keeps_all_that_the_server_said() -> None:
    answer = {
        "__typename": "ParamConflict",
        "code": "CONFLICT",
        "message": "param 'C' has another value",
        "path": "input.params[0].value",
        "limit": None,
        "hint": "use another key",
        "retryable": False,
        "requestId": "r-7",
        "key": "C",
        "storedValue": 0.1,
        "givenValue": 0.5,
    }

    error = errors.from_user_error(answer)

    assert isinstance(error, errors.ParamConflict)
    assert (error.code, error.path, error.hint, error.request_id) == (
        "CONFLICT",
        "input.params[0].value",
        "use another key",
        "r-7",
    )
    assert (error.key, error.stored, error.given) == ("C", 0.1, 0.5)


def test_a_failure_that_this_version_does_not_know_is_told_by_its_code() -> None:
    answer = {"__typename": "SomethingNew", "code": "CONFLICT", "message": "no", "retryable": False}

    assert type(errors.from_user_error(answer)) is errors.Conflict
