"""schema.graphql is what the code says, and says what everything means."""

from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    build_schema,
)

from api.schema import contract

ROOTS = {"Query", "Mutation", "Subscription"}
CONTRACT = Path(__file__).parents[2] / "schema.graphql"


def test_schema_file_is_current() -> None:
    assert CONTRACT.read_text() == contract(), "run `make schema`"


def test_everything_is_described() -> None:
    missing = []
    for name, kind in build_schema(CONTRACT.read_text()).type_map.items():
        if name.startswith("__") or name in {*ROOTS, "String", "Int", "Float", "Boolean", "ID"}:
            if name not in ROOTS:
                continue
        elif not kind.description:
            missing.append(name)
        missing += [f"{name}.{member}" for member in undescribed(kind)]
    assert not missing


def undescribed(kind: GraphQLNamedType) -> list[str]:
    """Members of a type, and arguments of its fields, that have no description."""
    found = []
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in kind.fields.items():
            found += [] if field.description else [name]
            found += [f"{name}({argument})" for argument, its in field.args.items() if not its.description]
    if isinstance(kind, GraphQLInputObjectType):
        found += [name for name, field in kind.fields.items() if not field.description]
    if isinstance(kind, GraphQLEnumType):
        found += [name for name, value in kind.values.items() if not value.description]
    return found
