"""Documents: the texts of operations, parsed, validated and compiled once."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    parse,
    specified_rules,
    validate,
)

from api import errors, known
from api.known import Bound, Known, Lists, Unusual
from db.errors import Code

TOKENS_MAX: Final = 10_000
DOCUMENTS_KEPT: Final = 500


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document; `known` is its compiled form, when it has one, and `lists` its compiled lists."""

    node: DocumentNode
    known: Known | None
    lists: Lists | None

    def bound(self, operation_name: str | None, variables: dict[str, Any] | None) -> Bound | None:
        """The compiled operation with these variables; None when it must be executed in the ordinary way."""
        if self.known is None or operation_name not in (None, self.known.name):
            return None
        try:
            return self.known.bound(variables)
        except Unusual:  # the ordinary way says what is wrong
            return None


class Refused(Exception):
    """The text is no valid document; `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("the document is refused")
        self.errors = errors


class Documents:
    """The documents that were asked for lately, by their text."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool) -> None:
        self._schema = schema
        self._rules = specified_rules if introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
        self._kept: OrderedDict[str, Document] = OrderedDict()

    def find(self, text: str) -> Document:
        """The document of this text. Raises `Refused`."""
        document = self._kept.get(text)
        if document is not None:
            self._kept.move_to_end(text)
            return document
        node = self._valid(text)
        document = Document(node, known.compiled(self._schema, node), Lists(self._schema, node))
        self._kept[text] = document
        if len(self._kept) > DOCUMENTS_KEPT:
            self._kept.popitem(last=False)
        return document

    def _valid(self, text: str) -> DocumentNode:
        try:
            node = parse(text, max_lexical_tokens=TOKENS_MAX, allow_empty_selection_sets=False)
        except GraphQLSyntaxError as error:
            shown = GraphQLError(error.message, error.nodes, error.source, error.positions, extensions=BAD)
            raise Refused([shown]) from error
        except RecursionError as error:
            too_deep = GraphQLError("the document is nested too deep", extensions={"code": Code.QUERY_TOO_COMPLEX})
            raise Refused([too_deep]) from error
        found = validate(self._schema, node, self._rules, max_errors=errors.MESSAGES_MAX)
        if found:
            raise Refused(found)
        return node


BAD: Final = {"code": Code.BAD_REQUEST}
