"""Subscription operations: from a document to the texts of its items, each made once for all who ask the same."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Hashable
from functools import partial
from inspect import isawaitable
from typing import Any, Final, Protocol, Self, cast

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    Visitor,
    create_source_event_stream,
    execute_subscription_event,
    get_operation_ast,
    visit,
)

from api import errors
from api.bodies import Asked, BadRequest
from api.context import Context, Deps
from api.documents import Document, Documents, Refused
from api.live import Texts
from db.access import Scope
from db.errors import Unavailable
from db.errors import known as known_failure

RETRIES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # when the database does not answer for a while


class Item(Protocol):
    """What a subscription sends."""

    texts: Texts

    @property
    def is_same_for_all(self) -> bool:
        """Whether it looks the same for everybody who may see it."""


class Operation:
    """A subscription as one client asked for it."""

    @classmethod
    async def read(
        cls, deps: Deps, schema: GraphQLSchema, documents: Documents, token: str, scope: Scope, asked: Asked
    ) -> Self:
        """The operation of the document. Raises `Refused`, `BadRequest`, `TooComplex`, `RateLimited`."""
        found = await documents.find(asked.query, partial(deps.budgets.read, token))
        return cls(deps, schema, found, token, scope, asked)

    def __init__(
        self, deps: Deps, schema: GraphQLSchema, found: Document, token: str, scope: Scope, asked: Asked
    ) -> None:
        self._deps = deps
        self._scope = scope
        self._request_id = secrets.token_hex(8)
        document = found.node
        operation = get_operation_ast(document, asked.operation_name)
        if operation is None:
            raise BadRequest(
                "there is no single operation to run", path="operationName", hint="name one of the document"
            )
        if operation.operation is not OperationType.SUBSCRIPTION:
            raise BadRequest(f"a {operation.operation.value} is not answered here", hint="send it by POST to /graphql")
        deps.budgets.bill(token, found.cost(operation), asked.variables)
        executor = Executor.build(
            schema,
            document,
            context_value=self._context(),
            raw_variable_values=asked.variables,
            operation_name=asked.operation_name,
            max_coercion_errors=errors.MESSAGES_MAX,
            hide_suggestions=not deps.settings.introspection,
        )
        if isinstance(executor, list):
            raise Refused(executor)
        self._executor = executor
        given = asked.variables or {}
        used = {name: given.get(name) for name in sorted(_used(document, operation))}
        self._asked: Hashable = (asked.query, asked.operation_name, orjson.dumps(used))
        self._viewer: Hashable = (scope.account_id, tuple(sorted(scope.roles.items())))

    def _context(self) -> Context:
        """A new one for each item, because what its dataloaders know grows old."""
        return Context(self._deps, self._scope, self._request_id, reads=True)

    async def items(self) -> AsyncGenerator[Item, None]:
        """What is subscribed to. Raises `Refused` when its arguments are wrong."""
        found = create_source_event_stream(self._executor)
        source = await found if isawaitable(found) else found
        if isinstance(source, ExecutionResult):
            raise Refused(source.errors or [])
        return cast("AsyncGenerator[Item, None]", source)

    async def text(self, item: Item) -> str:
        """The item as this operation selects it."""
        key = (self._asked, None if item.is_same_for_all else self._viewer)
        return await item.texts.get(key, partial(self._made, item))

    def _made(self, item: Item) -> str | Awaitable[str]:
        """The answer as JSON, at once when nothing has to be asked for."""
        running = self._executed(item)
        return self._waited_for(item, running) if isawaitable(running) else self._encoded(running)

    async def _waited_for(self, item: Item, running: Awaitable[ExecutionResult]) -> str:
        """The answer; when the database does not answer, it is waited for, so that no item is lost."""
        result = await running
        for pause_s in RETRIES_S:
            if not any(_is_passing(error) for error in result.errors or ()):
                break
            await asyncio.sleep(pause_s)
            running_again = self._executed(item)
            result = await running_again if isawaitable(running_again) else running_again
        return self._encoded(result)

    def _executed(self, item: Item) -> ExecutionResult | Awaitable[ExecutionResult]:
        executor = self._executor.build_per_event_executor(item)
        executor.context_value = self._context()
        return execute_subscription_event(executor)

    def _encoded(self, result: ExecutionResult) -> str:
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = errors.shown(result.errors, self._request_id)
        try:
            return orjson.dumps(answer).decode()
        except TypeError:  # a message that quotes half of a surrogate pair, which only escaped JSON can hold
            return json.dumps(answer)


def _is_passing(error: GraphQLError) -> bool:
    return error.original_error is not None and isinstance(known_failure(error.original_error), Unavailable)


def _used(document: DocumentNode, operation: OperationDefinitionNode) -> set[str]:
    """The variables on which the look of an item depends: all but those in the arguments of the subscribed field."""
    names: set[str] = set()

    class Collect(Visitor):
        def enter_variable(self, node: VariableNode, *_: Any) -> None:
            names.add(node.name.value)

    parts: list[Node] = [node for node in document.definitions if isinstance(node, FragmentDefinitionNode)]
    for selection in operation.selection_set.selections:
        inner = selection.selection_set if isinstance(selection, FieldNode) else selection
        parts += [inner] if inner is not None else []
    for part in parts:
        visit(part, Collect())
    return names
