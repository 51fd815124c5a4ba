"""Documents: the texts of operations, read once: parsed, measured, validated and compiled.

What is dear comes last, so that a document that asks for too much is refused before it has cost much.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)

from api import errors, known, limits
from api.aside import aside
from api.cost import Cost, costs
from api.known import Bound, Known, Lists, Unusual
from api.limits import TooComplex
from db.errors import Code
from db.memory import Memory
from settings import Settings

DOCUMENTS_KEPT: Final = 500
CHARACTERS_KEPT: Final = 512 * 1024  # of all their texts; what is kept of one takes up to 200 times as many bytes
REFUSED_KEPT: Final = 50


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document.

    `known` is its compiled form, when it is one that a training sends, `lists` are its compiled lists, `costs` what its
    operations cost, by name.
    """

    node: DocumentNode
    known: Known | None
    lists: Lists | None
    costs: dict[str | None, Cost]

    def bound(self, operation_name: str | None, variables: dict[str, Any] | None) -> Bound | None:
        """The compiled operation with these variables; None when it must be executed in the ordinary way."""
        if self.known is None or operation_name not in (None, self.known.name):
            return None
        try:
            return self.known.bound(variables)
        except Unusual:  # the ordinary way says what is wrong
            return None

    def cost(self, operation: OperationDefinitionNode) -> Cost:
        """What this operation of the document costs."""
        return self.costs[operation.name.value if operation.name else None]


class Refused(Exception):
    """The text is no valid document; `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("the document is refused")
        self.errors = errors


class Documents:
    """The documents that were asked for lately, by their text."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool, cost_max: int = Settings.query_cost_max) -> None:
        self._schema = schema
        self._rules = specified_rules if introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
        self._cost_max = cost_max
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._characters = 0
        self._refused: Memory[str, list[GraphQLError]] = Memory(REFUSED_KEPT)
        self._turns: dict[str, asyncio.Lock] = {}  # of those who ask for what is being read

    def kept(self, text: str) -> Document | None:
        """The document of this text; None when it was not read lately. Raises `Refused` when that was in vain."""
        document = self._kept.get(text)
        if document is None:
            refused = self._refused.get(text)
            if refused is not None:
                raise Refused(refused)
        else:
            self._kept.move_to_end(text)
        return document

    async def find(self, text: str, pay: Callable[[str], None]) -> Document:
        """The document of this text, which is read once for all who ask for it. Raises `Refused`.

        Who asks first has to `pay` for one that is not kept.
        """
        document = self.kept(text)
        if document is not None:
            return document
        turn = self._turns.setdefault(text, asyncio.Lock())
        try:
            async with turn:
                return self.kept(text) or await self._newly_read(text, pay)
        finally:
            if not turn.locked():
                self._turns.pop(text, None)

    async def _newly_read(self, text: str, pay: Callable[[str], None]) -> Document:
        pay(text)
        try:
            document = await aside(partial(self._read, text))
        except Refused as refused:
            self._keep_refused(text, refused)
            raise
        self._keep(text, document)
        return document

    def _keep(self, text: str, document: Document) -> None:
        if text in self._kept:  # somebody left while it was read, and the next one was sooner
            return
        self._kept[text] = document
        self._characters += len(text)
        while len(self._kept) > DOCUMENTS_KEPT or self._characters > CHARACTERS_KEPT:
            oldest, _ = self._kept.popitem(last=False)
            self._characters -= len(oldest)

    def _keep_refused(self, text: str, refused: Refused) -> None:
        if len(text) <= limits.CHARACTERS.most:
            self._refused.put(text, refused.errors)

    def _read(self, text: str) -> Document:
        """The document, newly read. Raises `Refused`."""
        try:
            return self._valid(text)
        except TooComplex as failure:
            found = [GraphQLError(failure.message, original_error=failure)]
        except GraphQLSyntaxError as error:
            found = [GraphQLError(error.message, error.nodes, error.source, error.positions, extensions=BAD)]
        except GraphQLError as error:
            found = [error]
        raise Refused(found)

    def _valid(self, text: str) -> Document:
        """The document. Raises `TooComplex`, `GraphQLError`, `Refused`."""
        limits.check_text(text)
        node = parse(text, max_lexical_tokens=limits.TOKENS.most, allow_empty_selection_sets=False)
        found_costs = costs(self._schema, node)
        for cost in found_costs.values():
            cost.check(cost.least, self._cost_max)
        found = validate(self._schema, node, self._rules, max_errors=errors.MESSAGES_MAX)
        if found:
            raise Refused(found)
        is_free = all(cost.is_free for cost in found_costs.values())
        compiled = known.compiled(self._schema, node) if is_free else None
        return Document(node, compiled, Lists(self._schema, node), found_costs)


BAD: Final = {"code": Code.BAD_REQUEST}
