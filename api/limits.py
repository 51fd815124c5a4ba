"""Limits of documents: what a text, and what is in it, may have at most.

They are checked in the order of what the check itself costs, so that a document that is refused has cost little: its
length, its tokens and brackets before it is parsed, its parts before it is validated.
"""

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from db.errors import Code, RunstoneError


class TooComplex(RunstoneError):
    """The query asks for more than the server spends on one."""

    code = Code.QUERY_TOO_COMPLEX

    def __init__(self, message: str, *, of: str, requested: int, allowed: int, hint: str) -> None:
        super().__init__(message, limit=f"{allowed:,} {of}", hint=hint)
        self.more = {"cost": {"of": of, "requested": requested, "allowed": allowed}}


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of something a document may have; `of` names it."""

    of: str
    most: int
    hint: str

    def check(self, found: int) -> None:
        """Raises `TooComplex`."""
        if found > self.most:
            raise TooComplex(
                f"the document has {found:,} {self.of}", of=self.of, requested=found, allowed=self.most, hint=self.hint
            )


CHARACTERS: Final = Limit("characters", 64 * 1024, "give values as variables, and ask for less at a time")
TOKENS: Final = Limit("tokens", 1_500, "give values as variables, and ask for less at a time")
BRACKETS: Final = Limit("nested brackets", 40, "nest less deep")
FRAGMENTS: Final = Limit("fragments", 30, "use fewer fragments")
SPREADS: Final = Limit("spreads of fragments", 100, "spread fewer fragments")
ALIASES: Final = Limit("aliases", 100, "ask for lists, or in several requests")
DIRECTIVES: Final = Limit("directives", 50, "use fewer directives")
REPEATED: Final = Limit("repeated fields", 50, "ask for each field once")
DEPTH: Final = Limit("levels", 12, "nest less deep; ask for what lies deeper by its id")
SCHEMA_DEPTH: Final = Limit("levels of the schema", 20, "nest less deep")
FIELDS: Final = Limit("fields", 2_000, "ask for less at a time; a fragment counts wherever it is spread")
VALUES: Final = Limit("values of variables", 20_000, "give fewer values")
VALUES_DEPTH: Final = Limit("nested brackets of variables", 40, "nest less deep")

# A token, or a comment, which is none. Texts that do not end go on to the end, so that each character is seen once.
TOKEN: Final = re.compile(
    r"#[^\n\r]*"
    r'|([_A-Za-z][_0-9A-Za-z]*|"""(?:\\"""|[^"]|"(?!""))*+(?:""")?|"(?:[^"\\\n\r]|\\.)*+"?'
    r"|-?[0-9][0-9A-Za-z.+-]*|\.\.\.|[!$&()\[\]{}:=@|?])",
    re.DOTALL,
)
CONTAINERS: Final = frozenset({dict, list})
STEPS: Final = {"{": 1, "[": 1, "(": 1, "}": -1, "]": -1, ")": -1}


def check_text(text: str) -> None:
    """Raises `TooComplex` for a text that is not worth parsing."""
    CHARACTERS.check(len(text))
    tokens = [token for token in TOKEN.findall(text) if token]
    TOKENS.check(len(tokens))
    BRACKETS.check(max(accumulate(STEPS.get(token, 0) for token in tokens), default=0))


def check_variables(variables: dict[str, Any] | None) -> None:
    """Raises `TooComplex` for variables that hold more than any question needs."""
    level: list[Any] = [variables] if variables else []
    values = depth = 0
    while level:
        depth += 1
        VALUES_DEPTH.check(depth)
        inner: list[Any] = []
        for outer in level:
            inside = outer.values() if type(outer) is dict else outer
            values += len(inside)
            VALUES.check(values)
            if not CONTAINERS.isdisjoint(map(type, inside)):
                inner += [value for value in inside if type(value) in CONTAINERS]
        level = inner
