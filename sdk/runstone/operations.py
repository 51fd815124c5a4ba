"""The text of each request: an operation of operations.graphql with the fragments it uses."""

import re
from functools import cache
from importlib import resources

DEFINITION = re.compile(r"^(query|mutation|fragment) (\w+)", re.MULTILINE)
SPREAD = re.compile(r"\.\.\.(\w+)")
COMMENT = re.compile(r"^#.*\n", re.MULTILINE)


@cache
def document(operation: str) -> str:
    """What is sent for `operation`, such as "CreateRun"; always the same text."""
    definitions = _definitions()
    needed = [operation]
    for name in needed:  # grows while it is walked
        needed.extend(spread for spread in SPREAD.findall(definitions[name]) if spread not in needed)
    return "\n".join(definitions[name] for name in needed)


@cache
def names() -> tuple[str, ...]:
    """The operations that the SDK knows."""
    return tuple(name for name, text in _definitions().items() if not text.startswith("fragment"))


@cache
def _definitions() -> dict[str, str]:
    text = COMMENT.sub("", resources.files(__package__).joinpath("operations.graphql").read_text("utf-8"))
    starts = list(DEFINITION.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {start[2]: text[start.start() : end].strip() + "\n" for start, end in zip(starts, ends, strict=True)}
