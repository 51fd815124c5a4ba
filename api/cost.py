"""The cost of operations, found before they are validated, in one walk over each part of the document.

A fragment is measured once, however often it is spread. What depends on variables is kept as a sum, to which each
request adds its own values.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from math import ceil
from typing import Any, Final, TypeAlias

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    TypeNameMetaFieldDef,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
    is_leaf_type,
    is_list_type,
    value_from_ast_untyped,
)

from api import limits
from api.limits import TooComplex
from api.prices import (
    ALONE,
    CELL,
    FIRST_OR_LAST,
    MUTATION,
    PRICES,
    STATEMENT,
    TRAINING,
    UNLISTED_USUAL,
    Price,
    Size,
    usual,
)

COST_MAX: Final = 2**53 - 1  # what is beyond is shown as this, which JSON can hold
PAGE_UNKNOWN: Final = 100.0  # items of a page within a page of the same list, which no field has

Values: TypeAlias = dict[str, Any]
Factor: TypeAlias = Callable[[Values], float]

META: Final[Mapping[str, GraphQLField]] = {
    "__schema": SchemaMetaFieldDef,
    "__type": TypeMetaFieldDef,
    "__typename": TypeNameMetaFieldDef,
}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A sum as often as a request says."""

    factor: Factor
    of: "Sum"

    def total(self, values: Values, known: dict[int, float]) -> float:
        """The part for these variables; `known` are those of the same request, because fragments share parts."""
        total = known.get(id(self))
        if total is None:
            total = known[id(self)] = self.factor(values) * self.of.total(values, known)
        return total


@dataclass(frozen=True, slots=True)
class Sum:
    """A number, and parts that depend on variables."""

    fixed: float = 0.0
    parts: tuple[Part, ...] = ()

    def total(self, values: Values, known: dict[int, float]) -> float:
        """The sum for these variables."""
        return self.fixed + sum(part.total(values, known) for part in self.parts)

    def plus(self, other: "Sum") -> "Sum":
        """Both."""
        return Sum(self.fixed + other.fixed, self.parts + other.parts)

    def times(self, factor: "Factor | float") -> "Sum":
        """So many times."""
        if not isinstance(factor, float):
            return Sum(parts=(Part(factor, self),))
        parts = (Part(lambda _: factor, Sum(parts=self.parts)),) if self.parts else ()
        return Sum(self.fixed * factor, parts)

    def shared(self) -> "Sum":
        """The same with one part at most, so that it can be added often."""
        return self if len(self.parts) < 2 else Sum(self.fixed).plus(Sum(parts=self.parts).times(_once))


def _once(_: Values) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class Measure:
    """Of a selection: how deep it goes, how many fields it has, what it costs once and for each item of its page."""

    depth: int = 0
    schema_depth: int = 0
    fields: int = 0
    once: Sum = Sum()
    each: Sum = Sum()

    def shared(self) -> "Measure":
        """The same for a fragment, which may be spread often."""
        return replace(self, once=self.once.shared(), each=self.each.shared())

    def checked(self) -> "Measure":
        """Itself. Raises `TooComplex`."""
        limits.DEPTH.check(self.depth)
        limits.SCHEMA_DEPTH.check(self.schema_depth)
        limits.FIELDS.check(self.fields)
        return self

    def plus(self, other: "Measure") -> "Measure":
        """Both, side by side."""
        return Measure(
            max(self.depth, other.depth),
            max(self.schema_depth, other.schema_depth),
            self.fields + other.fields,
            self.once.plus(other.once),
            self.each.plus(other.each),
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation costs. What a training waits for `is_free`."""

    depth: int
    is_free: bool
    sum: Sum
    defaults: Mapping[str, Any]  # of its variables

    @property
    def least(self) -> int:
        """What it costs whatever its variables are."""
        return _whole(self.sum.fixed)

    def with_variables(self, values: Mapping[str, Any] | None) -> int:
        """What it costs with these variables."""
        return _whole(self.sum.total({**self.defaults, **(values or {})}, {}))

    def check(self, requested: int, allowed: int) -> None:
        """Raises `TooComplex`."""
        if requested > allowed:
            raise TooComplex(
                f"the query costs {requested:,}",
                of="cost",
                requested=requested,
                allowed=allowed,
                hint="ask for fewer items at a time, with `first`, or for columns",
            )


def _whole(cost: float) -> int:
    return ceil(min(cost, COST_MAX))


def costs(schema: GraphQLSchema, document: DocumentNode) -> dict[str | None, Cost]:
    """What the operations cost, by name. Raises `TooComplex`, and `GraphQLError` where that cannot be said."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    parts = Parts()
    spread_by: dict[str, set[str]] = {}
    for name, fragment in fragments.items():
        spread_by[name] = parts.count(fragment)
    for operation in operations:
        parts.count(operation)
    parts.check(len(fragments))
    walk = Walk(schema, {name: fragments[name] for name in _inside_out(spread_by) if name in fragments})
    return {operation.name.value if operation.name else None: walk.cost(operation) for operation in operations}


def _inside_out(spread_by: Mapping[str, set[str]]) -> list[str]:
    """The fragments, each behind those that it spreads."""
    try:
        return list(TopologicalSorter(spread_by).static_order())
    except CycleError as error:
        raise GraphQLError(f"Cannot spread fragment '{error.args[1][0]}' within itself.") from error


class Parts:
    """The parts that a document has, each counted where it is written."""

    def __init__(self) -> None:
        self._aliases = self._directives = self._spreads = self._repeated = 0

    def count(self, definition: OperationDefinitionNode | FragmentDefinitionNode) -> set[str]:
        """Count what it has; the names of the fragments that it spreads."""
        self._directives += len(definition.directives or ())
        for variable in definition.variable_definitions or ():
            self._directives += len(variable.directives or ())
        return set(self._spread(definition.selection_set, set()))

    def check(self, fragments: int) -> None:
        """Raises `TooComplex`."""
        limits.FRAGMENTS.check(fragments)
        limits.ALIASES.check(self._aliases)
        limits.DIRECTIVES.check(self._directives)
        limits.SPREADS.check(self._spreads)
        limits.REPEATED.check(self._repeated)

    def _spread(self, selections: SelectionSetNode, keys: set[str]) -> Iterator[str]:
        for node in selections.selections:
            self._directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                self._aliases += node.alias is not None
                self._repeated += key in keys
                keys.add(key)
                if node.selection_set:
                    yield from self._spread(node.selection_set, set())
            elif isinstance(node, InlineFragmentNode):
                yield from self._spread(node.selection_set, keys)
            elif isinstance(node, FragmentSpreadNode):
                self._spreads += 1
                yield node.name.value


class Walk:
    """Measures a document; its fragments come in an order in which each needs only those before it."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._measured: dict[str, Measure] = {}
        self._names: dict[str, frozenset[str]] = {}  # of the fields at the top of each fragment
        for name, node in fragments.items():
            self._names[name] = frozenset(self._fields_of(node.selection_set))
            type_ = schema.type_map.get(node.type_condition.name.value)
            self._measured[name] = self._selections(node.selection_set, type_).shared()

    def cost(self, operation: OperationDefinitionNode) -> Cost:
        """What it costs. Raises `TooComplex`."""
        root = self._schema.get_root_type(operation.operation)
        measure = self._selections(operation.selection_set, root).checked()
        names = list(self._fields_of(operation.selection_set))
        is_mutation = operation.operation is OperationType.MUTATION
        if is_mutation:
            for alone in ALONE.intersection(names):
                _check_alone(alone, names.count(alone))
        return Cost(
            depth=measure.depth,
            is_free=is_mutation and TRAINING.issuperset(names),
            sum=measure.once.plus(measure.each.times(PAGE_UNKNOWN)),
            defaults={
                variable.variable.name.value: value_from_ast_untyped(variable.default_value)
                for variable in operation.variable_definitions or ()
                if variable.default_value
            },
        )

    def _fields_of(self, selections: SelectionSetNode) -> Iterator[str]:
        """The names of the fields, those of fragments too."""
        for node in selections.selections:
            if isinstance(node, FieldNode):
                yield node.name.value
            elif isinstance(node, InlineFragmentNode):
                yield from self._fields_of(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                yield from self._names.get(node.name.value, ())

    def _selections(self, selections: SelectionSetNode, type_: GraphQLNamedType | None) -> Measure:
        measure = Measure()
        for node in selections.selections:
            if isinstance(node, FieldNode):
                measure = measure.plus(self._field(node, type_))
            elif isinstance(node, InlineFragmentNode):
                on = node.type_condition
                inner = self._schema.type_map.get(on.name.value) if on else type_
                measure = measure.plus(self._selections(node.selection_set, inner))
            elif isinstance(node, FragmentSpreadNode):
                measure = measure.plus(self._measured.get(node.name.value, Measure()))
        return measure

    def _field(self, node: FieldNode, type_: GraphQLNamedType | None) -> Measure:
        definition = _definition(type_, node.name.value)
        inner = get_named_type(definition.type) if definition else None
        below = self._selections(node.selection_set, inner) if node.selection_set else Measure()
        price = price_of(type_.name, node.name.value, definition) if type_ and definition else Price()
        is_schema = type_ is not None and type_.name.startswith("__")
        once, each = _priced(price, partial(_bound, definition, node.arguments or ()), below, _item(definition))
        return Measure(
            depth=below.depth + (not is_schema),
            schema_depth=below.schema_depth + is_schema,
            fields=below.fields + 1,
            once=once,
            each=each,
        )


def _check_alone(name: str, count: int) -> None:
    limits.Limit(f"fields {name}", 1, "send them one after the other").check(count)


def _definition(type_: GraphQLNamedType | None, name: str) -> GraphQLField | None:
    if name in META:
        return META[name]
    return type_.fields.get(name) if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) else None


def price_of(type_name: str, name: str, definition: GraphQLField) -> Price:
    """The price of a field: its own, else that of what it looks like."""
    listed = PRICES.get(f"{type_name}.{name}")
    if listed is not None:
        return listed
    if type_name == "Mutation":
        return Price(MUTATION)
    if type_name.endswith("Connection") and name in ("nodes", "edges"):
        return Price(is_paged=True)
    if definition.args.keys() & {"first", "last"}:
        return Price(STATEMENT, page=FIRST_OR_LAST)
    if name == "totalCount":
        return Price(STATEMENT)
    return Price(items=usual(UNLISTED_USUAL)) if _is_list(definition) else Price()


def _is_list(definition: GraphQLField) -> bool:
    type_ = definition.type
    return is_list_type(type_.of_type if isinstance(type_, GraphQLNonNull) else type_)


def _item(definition: GraphQLField | None) -> float:
    """What one item of the field costs, besides what is asked of it."""
    if definition is None:
        return 0.0
    return CELL if is_leaf_type(get_named_type(definition.type)) else 1.0


def _priced(price: Price, bound: Callable[[Size], "Factor | float"], below: Measure, item: float) -> tuple[Sum, Sum]:
    """What a field costs once, and for each item of the page that it belongs to."""
    once, each = below.once, below.each
    if price.page is not None:
        once, each = once.plus(each.times(bound(price.page))), Sum()
    own = Sum(price.own)
    if price.is_paged:
        return own, Sum(item).plus(once).plus(each.times(PAGE_UNKNOWN))
    if price.items is None:
        return own.plus(once), each
    items = bound(price.items)
    return own.plus(Sum(item).plus(once).times(items)), each.times(items)


def _bound(definition: GraphQLField | None, given: "tuple[ArgumentNode, ...]", size: Size) -> "Factor | float":
    """The size with the arguments of the document: a number, or what makes one of the variables."""
    fixed: dict[str, Any] = {}
    varying: list[tuple[str, Callable[[Values], Any]]] = []
    for name in size.arguments:
        defined = definition.args.get(name) if definition else None
        fixed[name] = defined.default_value if defined else Undefined
    for argument in given:
        if argument.name.value not in fixed:
            continue
        if _has_variable(argument.value):
            varying.append((argument.name.value, _reader(argument.value)))
        else:
            fixed[argument.name.value] = value_from_ast_untyped(argument.value)
    if not varying:
        return float(size.count(fixed))

    def factor(values: Values) -> float:
        arguments = dict(fixed)
        for name, read in varying:
            value = read(values)
            if value is not Undefined:
                arguments[name] = value
        return size.count(arguments)

    return factor


def _reader(node: ValueNode) -> Callable[[Values], Any]:
    """What gives the value at this place of the document; `Undefined` where a variable is not given."""
    if isinstance(node, VariableNode):
        name = node.name.value
        return lambda values: values.get(name, Undefined)
    return lambda values: value_from_ast_untyped(node, values)


def _has_variable(node: ValueNode) -> bool:
    if isinstance(node, ListValueNode):
        return any(_has_variable(value) for value in node.values)
    if isinstance(node, ObjectValueNode):
        return any(_has_variable(field.value) for field in node.fields)
    return isinstance(node, VariableNode)
