"""Known documents: what the server has seen before, compiled, so that asking it again costs little.

graphql-core walks document, schema and values anew at each request, which costs ten times what storing a step of
metrics does. A mutation is compiled once: its variables to Python values, its fields to calls of their resolvers, its
selection to a dict. The compiled form answers what graphql-core answers, byte for byte. It knows only what goes well: a
value that is not plainly right raises `Unusual` before any resolver is called, and the request goes the ordinary way,
which finds the words; a document with a shape that is not foreseen here is not compiled.

Of queries the lists are compiled: thousands of params, metrics or points of a comparison are answered field by field,
each of all at once, and what their fields call is called with arguments that are made once. A list that comes as a
`Fragment` is JSON already.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from types import NoneType, SimpleNamespace
from typing import Any, Final, TypeAlias, cast
from weakref import WeakMethod

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLResolveInfoHelpers,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    Undefined,
    ValueNode,
    VariableNode,
    located_error,
    type_from_ast,
    value_from_ast_untyped,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.incremental.incremental_executor import IncrementalExecutor
from graphql.pyutils import AwaitableOrValue, Path
from orjson import Fragment
from strawberry.schema.schema_converter import GraphQLCoreConverter

from api.auth import Behind
from api.context import Context, Info
from api.errors import Forbidden, NotFound

Variables: TypeAlias = dict[str, Any]
Coerce: TypeAlias = Callable[[Any], Any]  # from a JSON value to what the resolver takes
Build: TypeAlias = Callable[[Variables], Any]  # from the coerced variables to an argument, or ABSENT
Shape: TypeAlias = Callable[[Any], Any]  # from what a resolver gives to its JSON value

# From the items of a list to their answers, at once or when all that is called has answered.
Answering: TypeAlias = Callable[[list[Any], GraphQLResolveInfo[Context]], AwaitableOrValue[list[Any]]]

ABSENT: Final = object()
PLAIN: Final[dict[str, set[type]]] = {
    "String": {str},
    "ID": {str},
    "Boolean": {bool},
    "Int64": {int},
}  # what scalars leave as it is
KEPT: Final[dict[str, set[type]]] = {
    "String": {str},
    "ID": {str},
    "Boolean": {bool},
    "ParamValue": {str, bool, int, float, list, dict},
}  # the same of JSON values, which they take
REFUSALS: Final = (NotFound, Forbidden)
INFO: Final[Any] = Info  # made by names that Strawberry keeps to itself
LISTS_MAX: Final = 500  # compiled of a document; directives may make many of one
INT_MAX: Final = 2**31 - 1


class Unusual(Exception):
    """The request is not plainly right, and nothing was done yet."""


class NotForeseen(Exception):
    """The document has a shape that is not compiled."""


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    coerce: Coerce
    default: Any  # a JSON value, or ABSENT
    is_required: bool


@dataclass(frozen=True, slots=True)
class _RootField:
    key: str
    node: FieldNode
    field: Any  # Strawberry's
    resolve: Callable[..., Awaitable[Any]]
    is_included: Build
    arguments: tuple[tuple[str, Build], ...]
    shape: Shape
    behind: Behind | None


Bound: TypeAlias = list[tuple[_RootField, dict[str, Any]]]


class Known:
    """A compiled mutation."""

    def __init__(self, name: str | None, variables: Iterable[_Variable], fields: Iterable[_RootField]) -> None:
        self.name = name
        self._variables = tuple(variables)
        self._fields = tuple(fields)

    def bound(self, given: Variables | None) -> Bound:
        """The fields to run and their arguments. Raises `Unusual`."""
        variables = self._coerced(given or {})
        return [
            (
                field,
                {name: value for name, build in field.arguments if (value := build(variables)) is not ABSENT},
            )
            for field in self._fields
            if field.is_included(variables)
        ]

    def _coerced(self, given: Variables) -> Variables:
        coerced: Variables = {}
        for variable in self._variables:
            value = given.get(variable.name, variable.default)
            if value is not ABSENT:
                coerced[variable.name] = variable.coerce(value)
            elif variable.is_required:
                raise Unusual
        return coerced


async def run(
    bound: Bound,
    context: Context,
    refresh: Callable[[], Awaitable[bool]],
) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
    """The data, and the errors; one after the other, and none after one that raises, as GraphQL has it.

    A field that may not see or do something is asked once more when `refresh` finds that the viewer may do more than
    the context knew.
    """
    data: dict[str, Any] = {}
    together: dict[str, Any] = {}  # what fields gave that were answered with the one before
    for place, (field, arguments) in enumerate(bound):
        info = INFO(_raw_info=SimpleNamespace(context=context), _field=field.field)
        try:
            if place + 1 < len(bound) and field.key not in together:
                together |= await _together(bound[place], bound[place + 1], context)
            if field.key in together:
                found = together[field.key]
            else:
                found = await field.resolve(None, info=info, **arguments)
            if isinstance(found, REFUSALS) and await refresh():
                found = await field.resolve(None, info=info, **arguments)
            data[field.key] = field.shape(found)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an entry of `errors`
            return None, [located_error(error, [field.node], [field.key])]
    return data, []


async def _together(
    one: tuple[_RootField, dict[str, Any]], next_one: tuple[_RootField, dict[str, Any]], context: Context
) -> dict[str, Any]:
    """What the fields give, by their keys, as far as there is a way to do both in one step."""
    (first, given), (second, given_then) = one, next_one
    if second.behind is None or second.behind.field != first.field.python_name:
        return {}
    found = await second.behind.answer(context, given, given_then)
    return dict(zip((first.key, second.key), found, strict=False))


def compiled(schema: GraphQLSchema, document: DocumentNode) -> Known | None:
    """The valid document as a compiled mutation; None when it is another operation or not foreseen."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) != 1 or operations[0].operation is not OperationType.MUTATION:
        return None
    try:
        return _Compiler(schema, document).known(operations[0])
    except NotForeseen:
        return None


class Lists:
    """The lists of one document, compiled when they are first answered."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._compiler = _Compiler(schema, document)
        self._compiled: dict[tuple[int, ...], Answering | None] = {}

    def answering(self, type_: Any, details: FieldDetailsList) -> Answering | None:
        """What makes the answer of this field; None when its items are not foreseen."""
        place = tuple(id(detail.node) for detail in details)  # they live as long as the document
        if place not in self._compiled and len(self._compiled) < LISTS_MAX:
            self._compiled[place] = self._answering(type_, details)
        return self._compiled.get(place)

    def _answering(self, type_: Any, details: FieldDetailsList) -> Answering | None:
        if any(detail.defer_usage or detail.fragment_variable_values for detail in details):
            return None
        try:
            return self._compiler.answering(type_.of_type, [detail.node for detail in details])
        except (NotForeseen, Unusual):
            return None


class ListExecutor(IncrementalExecutor):
    """graphql-core's executor, but for lists, which it would walk item by item and field by field.

    And it does not refer to itself: else a request, with all that it holds, would stay until garbage is collected.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        gather, track = (WeakMethod(method) for method in self.async_helpers)
        self.async_helpers = GraphQLResolveInfoHelpers(
            gather=lambda values: _living(gather)(values), track=lambda values: _living(track)(values)
        )

    def complete_list_value(
        self,
        return_type: GraphQLList[Any],
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Context],
        path: Path,
        result: AsyncIterable[Any] | Iterable[Any],
        position_context: Any,
    ) -> AwaitableOrValue[list[Any]]:
        """The list at once when it is foreseen; what is unusual in it goes the ordinary way, which finds the words."""
        if type(result) is Fragment:
            return cast(list[Any], result)

        def ordinarily() -> AwaitableOrValue[list[Any]]:
            return super(ListExecutor, self).complete_list_value(
                return_type, field_details_list, info, path, result, position_context
            )

        lists = info.context.lists
        answering = lists.answering(return_type, field_details_list) if lists and type(result) is list else None
        if answering is None:
            return ordinarily()
        try:
            answer = answering(cast(list[Any], result), info)
        except Exception:  # noqa: BLE001 - whatever a field raises, the ordinary way raises again, where it belongs
            return ordinarily()
        return answer if isinstance(answer, list) else self._or_ordinarily(answer, ordinarily)

    async def _or_ordinarily(
        self, answer: Awaitable[list[Any]], ordinarily: Callable[[], AwaitableOrValue[list[Any]]]
    ) -> list[Any]:
        try:
            return await answer
        except Exception:  # noqa: BLE001 - whatever a call raises, the ordinary way raises again, where it belongs
            return await _awaited(ordinarily())


def _living(method: WeakMethod[Callable[..., Any]]) -> Callable[..., Any]:
    """The method, whose object is there as long as anyone can call it."""
    living = method()
    assert living is not None
    return living


class _Compiler:
    """Compiles one document."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._nullable: set[str] = set()

    def known(self, operation: OperationDefinitionNode) -> Known:
        """The compiled operation. Raises `NotForeseen`."""
        variables = [self._variable(node) for node in operation.variable_definitions or ()]
        fields = [self._root_field(node) for node in operation.selection_set.selections]
        keys = [field.key for field in fields]
        if operation.directives or len(set(keys)) < len(keys):
            raise NotForeseen
        return Known(operation.name.value if operation.name else None, variables, fields)

    def _variable(self, node: Any) -> _Variable:
        type_ = type_from_ast(self._schema, node.type)
        name = node.variable.name.value
        if not isinstance(type_, GraphQLNonNull):
            self._nullable.add(name)
        default = ABSENT if node.default_value is None else value_from_ast_untyped(node.default_value)
        is_required = isinstance(type_, GraphQLNonNull) and default is ABSENT
        return _Variable(name, coercer(type_), default, is_required)

    def _root_field(self, node: SelectionNode) -> _RootField:
        if not isinstance(node, FieldNode) or node.name.value.startswith("__"):
            raise NotForeseen
        assert self._schema.mutation_type is not None
        definition = self._schema.mutation_type.fields[node.name.value]
        field = _origin(definition)
        if field.base_resolver is None:
            raise NotForeseen
        return _RootField(
            key=node.alias.value if node.alias else node.name.value,
            node=node,
            field=field,
            resolve=field.base_resolver.wrapped_func,
            is_included=self._inclusion(node),
            arguments=self._arguments(definition, node),
            shape=self.shape(definition.type, [node]),
            behind=field.metadata.get(Behind),
        )

    def _arguments(self, definition: GraphQLField, node: FieldNode) -> tuple[tuple[str, Build], ...]:
        """The arguments that the document gives, by their names in Python."""
        arguments = [(definition.args[argument.name.value], argument.value) for argument in node.arguments or ()]
        return tuple((_origin(given).python_name, self._builder(value, given.type)) for given, value in arguments)

    def _inclusion(self, node: FieldNode) -> Build:
        if not node.directives:
            return lambda _: True
        if len(node.directives) > 1 or node.directives[0].name.value not in {"include", "skip"}:
            raise NotForeseen
        [directive] = node.directives
        [argument] = directive.arguments or ()
        condition = self._builder(argument.value, GraphQLNonNull(GraphQLBoolean))
        if directive.name.value == "include":
            return condition
        return lambda variables: not condition(variables)

    def _builder(self, node: ValueNode, type_: Any) -> Build:
        """What makes the value at this place of the document, where `type_` is expected."""
        if isinstance(node, VariableNode):
            name = node.name.value
            if isinstance(type_, GraphQLNonNull) and name in self._nullable:
                raise NotForeseen
            return lambda variables: variables.get(name, ABSENT)
        inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        if isinstance(node, ObjectValueNode) and isinstance(inner, GraphQLInputObjectType):
            made = _origin(inner).origin
            parts = [
                (_origin(given).python_name, self._builder(part.value, given.type))
                for part in node.fields
                for given in [inner.fields[part.name.value]]
            ]
            return lambda variables: made(
                **{name: value for name, build in parts if (value := build(variables)) is not ABSENT}
            )
        if _has_variable(node):
            raise NotForeseen
        constant, coerce = value_from_ast_untyped(node), coercer(type_)
        return lambda _: coerce(constant)

    def shape(self, type_: Any, nodes: list[FieldNode]) -> Shape:
        """What makes the answer of a field that has this type; `nodes` are its places in the document."""
        if isinstance(type_, GraphQLNonNull):
            return _as_it_is(type_.of_type, _present(self.shape(type_.of_type, nodes)))
        if isinstance(type_, GraphQLList):
            return _list(self._items(type_.of_type, nodes))
        if isinstance(type_, GraphQLEnumType):
            return _name(type_)
        if isinstance(type_, GraphQLScalarType):
            serialize = type_.coerce_output_value
            return _as_it_is(type_, lambda value: None if value is None else serialize(value))
        if isinstance(type_, GraphQLObjectType):
            return self._object(type_, nodes)
        by_class = {
            _origin(possible).origin: self._object(possible, nodes)
            for possible in self._schema.get_possible_types(type_)
        }
        return lambda value: None if value is None else by_class[type(value)](value)

    def answering(self, type_: Any, nodes: list[FieldNode]) -> Answering:
        """What answers the items of a list, also when fields of theirs are called. Raises `NotForeseen`, `Unusual`."""
        try:
            items = self._items(type_, nodes)
        except NotForeseen:
            return self._calling(type_, nodes)
        return lambda values, _: items(values)

    def _calling(self, type_: Any, nodes: list[FieldNode]) -> Answering:
        is_required = isinstance(type_, GraphQLNonNull)
        given = type_.of_type if is_required else type_
        if not isinstance(given, GraphQLObjectType):
            raise NotForeseen
        parts = [(key, self._column(given, of_key)) for key, of_key in self._by_key(given, nodes).items()]

        async def rows(values: list[Any], info: GraphQLResolveInfo[Context]) -> list[Any]:
            there = _there(values, is_required=is_required)
            columns = await _all([_awaited(column(there, info)) for _, column in parts])
            return _spread(values, _rows({key: column for (key, _), column in zip(parts, columns, strict=True)}, there))

        return rows

    def _column(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> Answering:
        """What answers one field of objects."""
        try:
            get, items = self._getter(type_, nodes), self._items(self._result(type_, nodes), nodes)
        except NotForeseen:
            return self._called(type_, nodes)
        return lambda values, _: items(list(map(get, values)))

    def _called(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> Answering:
        """The same for a method that takes a while, or arguments, which are the same for all."""
        definition = type_.fields[nodes[0].name.value]
        field = _origin(definition)
        resolver = field.base_resolver
        if resolver is None or field.extensions or any(_has_variable(each.value) for each in nodes[0].arguments or ()):
            raise NotForeseen
        arguments = {name: build({}) for name, build in self._arguments(definition, nodes[0])}
        answering = self.answering(definition.type, nodes)

        async def called(values: list[Any], info: GraphQLResolveInfo[Context]) -> list[Any]:
            given = dict(arguments)
            if resolver.info_parameter:
                raw = info._replace(field_name=nodes[0].name.value, field_nodes=nodes, return_type=definition.type)
                given[resolver.info_parameter.name] = INFO(_raw_info=raw, _field=field)
            found = [resolver.wrapped_func(value, **given) for value in values]
            return await _awaited(answering(await _all(found) if resolver.is_async else found, info))

        return called

    def _items(self, type_: Any, nodes: list[FieldNode]) -> Shape:
        """As `shape`, of all items of a list at once: of objects each field of all of them, a third of the work."""
        is_required = isinstance(type_, GraphQLNonNull)
        given = type_.of_type if is_required else type_
        if not isinstance(given, GraphQLObjectType):
            return _each(type_, self.shape(type_, nodes))
        parts = self._parts(given, nodes, self._items)

        def items(values: list[Any]) -> list[Any]:
            there = _there(values, is_required=is_required)
            return _spread(values, _rows({key: part(list(map(get, there))) for key, get, part in parts}, there))

        return items

    def _object(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> Shape:
        parts = self._parts(type_, nodes, self.shape)

        def shape(value: Any) -> Any:
            return None if value is None else {key: part(get(value)) for key, get, part in parts}

        return shape

    def _parts(
        self, type_: GraphQLObjectType, nodes: list[FieldNode], shape: Callable[[Any, list[FieldNode]], Shape]
    ) -> list[tuple[str, Callable[[Any], Any], Shape]]:
        """The key of each field of an object, how to get it, and what `shape` makes to answer it."""
        return [
            (key, self._getter(type_, of_key), shape(self._result(type_, of_key), of_key))
            for key, of_key in self._by_key(type_, nodes).items()
        ]

    def _by_key(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> dict[str, list[FieldNode]]:
        """The fields that `nodes` ask of an object, in the order of the document."""
        selections = [selection for node in nodes if node.selection_set for selection in node.selection_set.selections]
        by_key: dict[str, list[FieldNode]] = {}
        for node in self._fields_of(type_, selections):
            by_key.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
        return by_key

    def _result(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> Any:
        """The type of a field."""
        definition = self._schema.get_field(type_, nodes[0].name.value)
        assert definition is not None, "the document is valid"
        return definition.type

    def _getter(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> Callable[[Any], Any]:
        """How to get one field: an attribute, or what a method without arguments gives at once."""
        name = nodes[0].name.value
        if name == "__typename":
            return lambda _: type_.name
        field = _origin(type_.fields[name])
        resolver = field.base_resolver
        if any(node.arguments for node in nodes):
            raise NotForeseen
        if resolver is None:
            return attrgetter(field.python_name)
        if resolver.is_async or resolver.arguments or resolver.info_parameter:
            raise NotForeseen
        return cast(Callable[[Any], Any], resolver.wrapped_func)

    def _fields_of(self, type_: GraphQLObjectType, selections: Iterable[SelectionNode]) -> Iterator[FieldNode]:
        """The fields that a value of this type is asked for, in the order of the document."""
        for selection in selections:
            if selection.directives:
                raise NotForeseen
            if isinstance(selection, FieldNode):
                yield selection
                continue
            if isinstance(selection, FragmentSpreadNode):
                part: FragmentDefinitionNode | InlineFragmentNode = self._fragments[selection.name.value]
            else:
                part = cast(InlineFragmentNode, selection)
            if part.type_condition is None or self._is_a(type_, part.type_condition.name.value):
                yield from self._fields_of(type_, part.selection_set.selections)

    def _is_a(self, type_: GraphQLObjectType, name: str) -> bool:
        condition = self._schema.type_map[name]
        if isinstance(condition, GraphQLUnionType | GraphQLInterfaceType):
            return self._schema.is_sub_type(condition, type_)
        return condition is type_


def coercer(type_: Any, within: frozenset[str] = frozenset()) -> Coerce:
    """What makes the Python value of a JSON value of an input type, and raises `Unusual` for any that is refused.

    `within` are the objects that it is a part of. Raises `NotForeseen` for one that is a part of itself.
    """
    if isinstance(type_, GraphQLNonNull):
        return _coercer_of_present(type_.of_type, within)
    coerce = _coercer_of_present(type_, within)
    return lambda value: None if value is None else coerce(value)


def _coercer_of_present(type_: Any, within: frozenset[str]) -> Coerce:
    """The same for what must not be null."""
    if isinstance(type_, GraphQLList):
        return _list_coercer(type_.of_type, within)
    if isinstance(type_, GraphQLInputObjectType):
        return _object_coercer(type_, within)
    if type_ is GraphQLString or type_ is GraphQLID:
        return _exactly(str)
    if type_ is GraphQLBoolean:
        return _exactly(bool)
    if type_ is GraphQLInt:
        return _int
    if isinstance(type_, GraphQLEnumType):
        return _enum_coercer(type_)
    return _leaf_coercer(type_)


def _exactly(kind: type) -> Coerce:
    def coerce(value: Any) -> Any:
        if type(value) is not kind:
            raise Unusual
        return value

    return coerce


def _int(value: Any) -> int:
    if type(value) is not int or abs(value) > INT_MAX:
        raise Unusual
    return value


def _enum_coercer(type_: GraphQLEnumType) -> Coerce:
    """The enum's own parser, asked once for each name: to ask it again takes six times as long."""
    members = {name: type_.coerce_input_value(name) for name in type_.values}

    def coerce(value: Any) -> Any:
        if type(value) is not str or value not in members:
            raise Unusual
        return members[value]

    return coerce


def _leaf_coercer(type_: GraphQLScalarType) -> Coerce:
    """The scalar's own parser."""
    parse = type_.coerce_input_value

    def coerce(value: Any) -> Any:
        if value is None:
            raise Unusual
        try:
            parsed = parse(value)
        except Exception as error:
            raise Unusual from error
        if parsed is Undefined:
            raise Unusual
        return parsed

    return coerce


def _list_coercer(item_type: Any, within: frozenset[str]) -> Coerce:
    item, kept = coercer(item_type, within), _kept(item_type)
    given = item_type.of_type if isinstance(item_type, GraphQLNonNull) else item_type
    objects = _objects_coercer(given) if isinstance(given, GraphQLInputObjectType) else None

    def coerce(values: Any) -> Any:
        if type(values) is not list:
            raise Unusual
        kinds = set(map(type, values))
        if kinds <= kept:
            return values
        found = objects(values) if objects is not None and kinds == {dict} else None
        return [item(value) for value in values] if found is None else found

    return coerce


def _objects_coercer(type_: GraphQLInputObjectType) -> Callable[[list[dict[str, Any]]], list[Any] | None]:
    """Makes the objects of a list when all their values stay as they are; None for any other list.

    It looks at each field of all of them at once, which takes half of the time: a run begins with a list of params.
    """
    made, required = _origin(type_).origin, _required(type_)
    kept = {
        name: kinds if name in required else kinds | {type(ABSENT)}
        for name, field in type_.fields.items()
        if _origin(field).python_name == name and (kinds := _kept(field.type)) - {NoneType}
    }
    if not required <= kept.keys():  # then no list is so
        return lambda _: None

    def coerce(values: list[dict[str, Any]]) -> list[Any] | None:
        names: set[str] = set().union(*values)
        if not required <= names <= kept.keys():
            return None
        are_kept = all({type(value.get(name, ABSENT)) for value in values} <= kept[name] for name in names)
        return [made(**value) for value in values] if are_kept else None

    return coerce


def _kept(type_: Any) -> set[type]:
    """The types of the JSON values that are right for an input type, and stay as they are."""
    if isinstance(type_, GraphQLNonNull):
        return _kept(type_.of_type) - {NoneType}
    return {NoneType} | (KEPT.get(type_.name, set()) if isinstance(type_, GraphQLScalarType) else set())


def _required(type_: GraphQLInputObjectType) -> set[str]:
    """The fields that must be given."""
    return {
        name
        for name, field in type_.fields.items()
        if isinstance(field.type, GraphQLNonNull) and field.default is None and field.default_value is Undefined
    }


def _object_coercer(type_: GraphQLInputObjectType, within: frozenset[str]) -> Coerce:
    """Makes Strawberry's input object; the defaults of its class are those of the schema."""
    if type_.is_one_of or type_.name in within:
        raise NotForeseen
    within |= {type_.name}
    made, required = _origin(type_).origin, _required(type_)
    fields = {
        name: (_origin(field).python_name, _kept(field.type), coercer(field.type, within))
        for name, field in type_.fields.items()
    }

    def coerce(values: Any) -> Any:
        if type(values) is not dict or not required <= values.keys():
            raise Unusual
        arguments = {}
        for name, value in values.items():
            if name not in fields:
                raise Unusual
            python_name, kept, coerce = fields[name]
            arguments[python_name] = value if type(value) in kept else coerce(value)
        return made(**arguments)

    return coerce


async def _all(asked: Iterable[Awaitable[Any]]) -> list[Any]:
    """What they give; the first failure is raised when all have ended."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


async def _awaited(answer: AwaitableOrValue[list[Any]]) -> list[Any]:
    """The answer, when it is there."""
    return answer if isinstance(answer, list) else await answer


def _list(items: Shape) -> Shape:
    return lambda values: values if values is None or type(values) is Fragment else items(list(values))


def _there(values: list[Any], *, is_required: bool) -> list[Any]:
    """Those that are not null; raises when one is that never is."""
    if NoneType not in set(map(type, values)):
        return values
    if is_required:
        raise TypeError("an item that is never null is null")
    return [value for value in values if value is not None]


def _spread(values: list[Any], rows: list[Any]) -> list[Any]:
    """The rows of those values that are not null, in their places."""
    if len(rows) == len(values):
        return rows
    left = iter(rows)
    return [None if value is None else next(left) for value in values]


def _rows(columns: dict[str, list[Any]], values: list[Any]) -> list[Any]:
    """A dict for each value, of what the columns have of it."""
    blank = dict.fromkeys(columns)
    rows = [blank.copy() for _ in values]
    for key, column in columns.items():
        for row, answer in zip(rows, column, strict=True):
            row[key] = answer
    return rows


def _each(type_: Any, shape: Shape) -> Shape:
    """What makes the answers of values of a type, without asking the shape of one for what it leaves as it is."""
    given = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    plain: set[type] = PLAIN.get(given.name, set()) if isinstance(given, GraphQLScalarType) else set()
    serialize = shape
    if isinstance(given, GraphQLEnumType):
        serialize = {member.value: name for name, member in given.values.items()}.__getitem__
    elif isinstance(given, GraphQLScalarType):
        serialize = given.coerce_output_value

    def answers(values: list[Any]) -> list[Any]:
        kinds = set(map(type, values))
        return values if kinds <= plain else list(map(shape if NoneType in kinds else serialize, values))

    return answers


def _as_it_is(type_: Any, shape: Shape) -> Shape:
    """The shape, without asking it for what it leaves as it is: most fields are texts."""
    if type_ is not GraphQLString and type_ is not GraphQLID:
        return shape
    return lambda value: value if type(value) is str else shape(value)


def _name(type_: GraphQLEnumType) -> Shape:
    """What makes the name of a value of the enum."""
    serialize = type_.coerce_output_value
    names = {member.value: name for name, member in type_.values.items()}

    def name(value: Any) -> Any:
        if value is None:
            return None
        return names[value] if value in names else serialize(value)

    return name


def _present(shape: Shape) -> Shape:
    def present(value: Any) -> Any:
        if value is None:
            raise TypeError("a field that is never null is null")
        return shape(value)

    return present


def _has_variable(node: ValueNode) -> bool:
    if isinstance(node, ListValueNode):
        return any(_has_variable(value) for value in node.values)
    if isinstance(node, ObjectValueNode):
        return any(_has_variable(field.value) for field in node.fields)
    return isinstance(node, VariableNode)


def _origin(of: Any) -> Any:
    """What Strawberry made the type, field or argument from. Raises `NotForeseen` for those of GraphQL itself."""
    try:
        return of.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
    except KeyError:
        raise NotForeseen from None
