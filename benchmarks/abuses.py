"""Queries made to hurt: each must be refused as too complex, soon and in words."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Variables: TypeAlias = Mapping[str, Any]


def bomb(count: int, on: str = "Viewer", root: str = "viewer", fields: str = "", leaf: str = "name") -> str:
    """Fragments, each of which spreads the next twice."""
    spread = "".join(f"fragment F{at} on {on} {{ {fields} ...F{at + 1} ...F{at + 1} }} " for at in range(count))
    return f"{{ {root} {{ ...F0 }} }} {spread} fragment F{count} on {on} {{ {leaf} }}"


def tree(width: int, levels: int) -> str:
    """A run whose parents are asked for again and again under other names."""
    parts = []
    for level in range(levels):
        fields = " ".join(f"a{at}: parent {{ ...F{level + 1} }}" for at in range(width))
        parts.append(f"fragment F{level} on Run {{ {fields} }}")
    return f'{{ run(id: "1") {{ ...F0 }} }} {" ".join(parts)} fragment F{levels} on Run {{ id }}'


def deep(levels: int) -> str:
    """A selection so deep."""
    return "{ a " * levels + "}" * levels


def of_type(levels: int) -> str:
    """The schema's types, so deep."""
    return "{ __schema { types { " + "ofType { " * levels + "name" + " }" * levels + " } } }"


def nested(levels: int) -> list[Any]:
    """A list so deep."""
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def fields(count: int, make: Callable[[int], str]) -> str:
    """A selection of so many fields."""
    return "{ " + " ".join(make(number) for number in range(count)) + " }"


NESTED_LISTS: Final = """
    {
      runs(first: 100) {
        nodes { metrics(first: 100) { nodes { key } } series(keys: KEYS, maxPoints: 1000) { values } }
      }
    }
""".replace("KEYS", "[" + '"key" ' * 100 + "]")
NESTED_BY_VARIABLE: Final = """
    query ($first: Int!) { runs(first: $first) { nodes { children(first: $first) { nodes { children(first: $first) {
      nodes { id } } } } } } }
"""
KEYS: Final = 'query ($keys: [String!]!) { series(select: { runIds: ["1"] }, keys: $keys) { key } }'
PROJECT: Final = 'createProject(input: { name: "x" }) { __typename }'
PROJECTS: Final = "mutation " + fields(10, lambda at: f"a{at}: {PROJECT}")

ABUSES: Final[Mapping[str, tuple[str, Variables]]] = {
    "fragment bomb of 18": (bomb(18), {}),
    "fragment bomb of 28": (bomb(28), {}),
    "fragment bomb of 30": (bomb(30), {}),
    "fragment bomb of 90": (bomb(90), {}),
    "fragment bomb with variables": (
        "query ($first: Int!) " + bomb(25, "Run", 'run(id: "1")', "params(first: $first) { nodes { key } }"),
        {"first": 5},
    ),
    "2,000 aliases": (fields(2_000, lambda at: f"a{at}: viewer {{ name }}"), {}),
    "200 aliases": (fields(200, lambda at: f"a{at}: viewer {{ name }}"), {}),
    "4^6 aliased parents": (tree(4, 6), {}),
    "2^12 aliased parents": (tree(2, 12), {}),
    **{f"{levels} levels": (deep(levels), {}) for levels in (13, 38, 140, 300, 10_000)},
    "500 times the same field": ("{ viewer { " + "name " * 500 + "} }", {}),
    "4,000 times the same field": ("{ viewer { " + "name " * 4_000 + "} }", {}),
    "300 times the same field in inline fragments": ("{ viewer { " + "... { name } " * 300 + "} }", {}),
    "20,000 __typename": ("{ " + "__typename " * 20_000 + "}", {}),
    "5,000 unknown fields": (fields(5_000, lambda at: f"missing{at}"), {}),
    "5,000 directives": ("{ viewer " + "@skip(if: false) " * 5_000 + "{ name } }", {}),
    "500 directives": ("{ viewer " + "@skip " * 500 + "{ name } }", {}),
    "50 ofType": (of_type(50), {}),
    "25 ofType": (of_type(25), {}),
    "types of fields of types": (
        "{ __schema { types { " + "fields { type { " * 5 + "name" + " } }" * 5 + " } } }",
        {},
    ),
    "a list 1,000 deep": ("{ series(select: {}, keys: " + "[" * 1_000 + "]" * 1_000 + ") { key } }", {}),
    "a list 300 deep": ("{ series(select: {}, keys: " + "[" * 300 + "]" * 300 + ") { key } }", {}),
    "a list of 200,000": ("{ series(select: {}, keys: [" + "1 " * 200_000 + "]) { key } }", {}),
    "a list of 1,450": ("{ series(select: {}, keys: [" + "1 " * 1_450 + "]) { key steps } }", {}),
    "a variable 500 deep": (KEYS, {"keys": nested(500)}),
    "a variable of 200,000": (KEYS, {"keys": [1] * 200_000}),
    "runs x metrics x points": (NESTED_LISTS, {}),
    "runs x runs x runs by a variable": (NESTED_BY_VARIABLE, {"first": 100}),
    "a mutation that stands alone ten times": (PROJECTS, {}),
    "a text of 64 Ki characters": ("{ viewer { name } } #" + "x" * 64 * 1024, {}),
}
