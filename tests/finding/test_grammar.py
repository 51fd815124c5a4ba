"""The grammar of filters: what texts mean, where a wrong one is wrong, and that every filter can be written as text."""

import math
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from db.conditions import (
    All,
    Any,
    Area,
    Attribute,
    Comparison,
    Condition,
    Exists,
    Field,
    Mentions,
    Not,
    OneOf,
    Operator,
    Order,
    Stat,
)
from db.errors import Invalid
from db.filter_texts import parse, parse_order, to_text
from tests.finding.naive import NaiveRun
from tests.finding.randomly import Randomly

ID = UUID("019a1fb9-3997-7c3b-a61a-3098589f0ecb")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

LOSS = Field(Area.METRIC, "loss")
LR = Field(Area.PARAM, "lr")
TEAM = Field(Area.TAG, "team")
SPACED = Field(Area.PARAM, "my key")
STATUS = Field(Area.ATTRIBUTE, Attribute.STATUS)
CREATED = Field(Area.ATTRIBUTE, Attribute.CREATED_AT)
DATASET = Field(Area.DATASET, "name")

A, B, C = (Comparison(LOSS, Operator.LT, number) for number in (1, 2, 3))
MEANINGS: list[tuple[str, Condition]] = [
    ("", All(())),
    (" \n\t", All(())),
    ("true", All(())),
    ("FALSE", Any(())),
    ("metrics.loss < 1", A),
    ("metric.loss<1", A),
    ("Metrics.loss < 1", A),
    ("metrics.`loss` < +1", A),
    ('metrics."loss" < 1', A),
    ("last(metrics.loss) < 1", A),
    ("metrics.loss < 1 AND metrics.loss < 2 and metrics.loss < 3", All((A, B, C))),
    ("metrics.loss < 1 OR metrics.loss < 2 AND metrics.loss < 3", Any((A, All((B, C))))),
    ("(metrics.loss < 1 or metrics.loss < 2) AND metrics.loss < 3", All((Any((A, B)), C))),
    ("NOT metrics.loss < 1 AND metrics.loss < 2", All((Not(A), B))),
    ("NOT (metrics.loss < 1 AND metrics.loss < 2)", Not(All((A, B)))),
    ("not not ((metrics.loss < 1))", Not(Not(A))),
    ("max(metrics.loss) >= -.5e-3", Comparison(Field(Area.METRIC, "loss", Stat.MAX), Operator.GE, -0.5e-3)),
    ("BEST(metrics.`f1 score`) = 1", Comparison(Field(Area.METRIC, "f1 score", Stat.BEST), Operator.EQ, 1)),
    ("count(metrics.loss) > 99", Comparison(Field(Area.METRIC, "loss", Stat.COUNT), Operator.GT, 99)),
    ("metrics.loss != -Infinity", Comparison(LOSS, Operator.NE, -math.inf)),
    ("metrics.loss < INF", Comparison(LOSS, Operator.LT, math.inf)),
    ("metrics.val/top-5:a@b$c.x > 0", Comparison(Field(Area.METRIC, "val/top-5:a@b$c.x"), Operator.GT, 0)),
    ("metrics.1st>-1", Comparison(Field(Area.METRIC, "1st"), Operator.GT, -1)),
    ("metrics.größe = 1", Comparison(Field(Area.METRIC, "größe"), Operator.EQ, 1)),
    ("params.lr <> 0.1", Comparison(LR, Operator.NE, 0.1)),
    ("param.lr == '0.1'", Comparison(LR, Operator.EQ, "0.1")),
    ("parameters.lr = true", Comparison(LR, Operator.EQ, True)),
    ("params.lr != NaN", Comparison(LR, Operator.NE, math.nan)),
    ("params.lr = 9223372036854775808", Comparison(LR, Operator.EQ, 2**63)),
    ("params.\"my key\" = 'x'", Comparison(SPACED, Operator.EQ, "x")),
    ('params.`my key` = "x"', Comparison(SPACED, Operator.EQ, "x")),
    ("params.lr = 'it''s'", Comparison(LR, Operator.EQ, "it's")),
    ('params.lr = "say ""x"""', Comparison(LR, Operator.EQ, 'say "x"')),
    ("params.lr = 'back\\'", Comparison(LR, Operator.EQ, "back\\")),
    ("params.lr IN (1, '2', true)", OneOf(LR, (1, "2", True))),
    ("params.lr NOT IN (1)", All((Exists(LR), Not(OneOf(LR, (1,)))))),
    ("params.in is null", Not(Exists(Field(Area.PARAM, "in")))),
    ("tags.team IS NOT NULL", Exists(TEAM)),
    ("tag.team Like 'a_%'", Comparison(TEAM, Operator.LIKE, "a_%")),
    ("tags.team NOT ILIKE 'A%'", All((Exists(TEAM), Not(Comparison(TEAM, Operator.ILIKE, "A%"))))),
    ("status = 'finished'", Comparison(STATUS, Operator.EQ, "FINISHED")),
    ("run.status IN ('FAILED', 'LOST')", OneOf(STATUS, ("FAILED", "LOST"))),
    ("attributes.`Run Name` = 'x'", Comparison(Field(Area.ATTRIBUTE, Attribute.NAME), Operator.EQ, "x")),
    (f"run_id = '{ID.hex}'", Comparison(Field(Area.ATTRIBUTE, Attribute.ID), Operator.EQ, ID)),
    (f"ancestorId = '{ID}'", Comparison(Field(Area.ATTRIBUTE, Attribute.ANCESTOR), Operator.EQ, ID)),
    ("parentId IS NULL", Not(Exists(Field(Area.ATTRIBUTE, Attribute.PARENT)))),
    ("created_at > '2026-01-31T12:00:00Z'", Comparison(CREATED, Operator.GT, NOON)),
    ("createdAt > '2026-01-31 13:00+01:00'", Comparison(CREATED, Operator.GT, NOON)),
    ("createdAt >= '2026-01-31'", Comparison(CREATED, Operator.GE, NOON - timedelta(hours=12))),
    ("attr.start_time = 1769860800000", Comparison(Field(Area.ATTRIBUTE, Attribute.STARTED_AT), Operator.EQ, NOON)),
    ("durationSeconds > 3600", Comparison(Field(Area.ATTRIBUTE, Attribute.DURATION), Operator.GT, 3600)),
    ("source.dirty = false", Comparison(Field(Area.SOURCE, "dirty"), Operator.EQ, False)),
    ("source.entry_point LIKE '%.py'", Comparison(Field(Area.SOURCE, "entryPoint"), Operator.LIKE, "%.py")),
    (
        "dataset.name = 'a' and datasets.name IN ('b')",
        All((Comparison(DATASET, Operator.EQ, "a"), OneOf(DATASET, ("b",)))),
    ),
    ("'res net'", Mentions("res net")),
    ("\"and\" AND NOT ('b')", All((Mentions("and"), Not(Mentions("b"))))),
    ("tags.team = '''; DROP TABLE run; --'", Comparison(TEAM, Operator.EQ, "'; DROP TABLE run; --")),
    ("tags.team = '\u202e\ufeff🧪'", Comparison(TEAM, Operator.EQ, "\u202e\ufeff🧪")),
]


@pytest.mark.parametrize(("text", "meaning"), MEANINGS)
def test_a_text_means(text: str, meaning: Condition) -> None:
    assert repr(parse(text, "where")) == repr(meaning)  # by repr, because NaN is not equal to itself


# The kinds of example that MLflow's documentation of searching runs has, with ids that are ids.
OF_MLFLOW = f"""
    metrics.loss > 0.8
    metrics.accuracy > 0.72
    metrics."accuracy" > 0.72
    metrics.`log-scale-loss` <= 0
    metrics.`f1 score` >= 0.5
    metrics.accuracy != 0.15
    params.batch_size = "2"
    params.model LIKE "GPT%" AND params.batch_size = "2"
    params.model ILIKE "gPt%"
    params.`1st_iteration_timestamp` = "2022-01-01"
    params.alpha = "0.3" and params.lambda = "0.001" and metrics.error <= 0.05
    params.batch_size != "None"
    parameter.model = 'tree'
    tags."environment" = "notebook"
    tags.task ILIKE "classif%"
    tag.`test` = 'abc'
    tags.`mlflow.user` = 'john@example.org'
    tags.mlflow.parentRunId = 'x'
    datasets.name LIKE "custom"
    datasets.digest IN ('s8ds293b', 'jks834s2')
    datasets.context = "train"
    dataset.name NOT IN ('custom', 'also custom')
    attributes.status = "ACTIVE"
    attributes.status = 'SCHEDULED'
    status != 'RUNNING'
    attributes.user_id LIKE "user1"
    attributes.run_name = "my-run"
    attributes.`run name` ILIKE "%alpha%"
    attributes.`Run name` ILIKE "%alpha%"
    attributes.run_name IN ('alpha', 'beta')
    attributes.run_id = "{ID.hex}"
    attributes.run_id IN ('{ID.hex}', '{ID}')
    attributes.start_time >= 1664067852747
    attributes.end_time < 1664067852747
    attributes.created > 1664067852747
    attributes.Created > 1664067852747
    metrics.accuracy > 0.72 AND metrics.batch_size != 0 AND attributes.run_id IN ('{ID.hex}')
"""


@pytest.mark.parametrize("text", [line.strip() for line in OF_MLFLOW.strip().splitlines()])
def test_what_mlflow_takes_is_taken(text: str) -> None:
    assert parse(to_text(parse(text, "where")), "where") == parse(text, "where")


MISTAKES: list[tuple[str, int, str, tuple[str, ...]]] = [
    ("metrics.loss", 12, "expected an operator after metrics.loss, found the end", ("=", "<")),
    ("metrics.loss 5", 13, "expected an operator", ("=",)),
    ("metrics.loss LIEK 5", 13, "expected an operator", ()),
    ("params.lr LIEK '5'", 10, "expected an operator", ("LIKE", "ILIKE")),
    ("metrics.loss <", 14, "compared with a number, not with the end", ()),
    ("metrics.loss < 'x'", 15, "compared with a number", ()),
    ("metrics.loss < true", 15, "compared with a number", ()),
    ("metrics.loss LIKE 'x'", 13, "not compared by LIKE", ("=",)),
    ("metrics.loss < 1 metrics.acc > 1", 17, "expected AND, OR or the end", ("AND", "OR")),
    ("metrics.loss < 1 adn metrics.acc > 1", 17, "expected AND, OR or the end, found adn", ("AND",)),
    ("metrics.loss < 1 && metrics.acc > 1", 17, "'&' has no meaning here", ("AND",)),
    ("metrics.loss < 1 AND", 20, "expected a field", ()),
    ("(metrics.loss < 1", 17, "closing parenthesis", ("AND", "OR", ")")),
    ("metrics.loss < 1)", 16, "expected AND, OR or the end", ("AND", "OR")),
    ("()", 1, "expected a field", ()),
    ("metrics. < 1", 8, "expected a key after the dot", ()),
    ("metrics.loss < 1.2.3", 18, "the number goes on", ()),
    ("metrics.loss < 12abc", 17, "the number goes on", ()),
    ("metrics.loss < 1e999", 15, "overflows", ("Infinity",)),
    ("metrics.loss ! 3", 13, "'!' has no meaning here", ("NOT",)),
    ("metric_.loss < 1", 0, "there is no field", ("metric.loss", "metrics.loss")),
    ("optimizer.lr < 1", 0, "there is no field", ("params.optimizer.lr",)),
    ("loss < 1", 0, "there is no field loss", ("params.loss", "metrics.loss", "tags.loss")),
    ("resnet", 0, "there is no field resnet", ("'resnet'",)),
    ("creatdAt > '-7d'", 0, "there is no field creatdAt", ("createdAt",)),
    ("source.comit = 'x'", 0, "there is no source.comit", ("source.commit",)),
    ("maximum(metrics.loss) < 1", 0, "there is no function maximum", ("max(...)",)),
    ("max(params.lr) < 1", 4, "only a metric has a max", ("metrics.lr",)),
    ("status = 'finishd'", 9, "there is no status 'finishd'", ("'FINISHED'",)),
    ("status < 'FAILED'", 7, "not compared by <", ("=",)),
    ("tags.fold = 5", 12, "compared with a text in quotes, not with 5", ("'5'",)),
    ("tags.team = vision", 12, "compared with a text in quotes, not with vision", ("'vision'",)),
    ("params.lr = null", 12, "null is not a value", ("IS NULL",)),
    ("params.lr < true", 12, "true and false have no order", ()),
    ("params.lr IN ()", 14, "not with )", ()),
    ("params.lr IN (1 2)", 16, "expected a comma or a closing parenthesis", (",",)),
    ("params.lr NOT < 3", 14, "is not compared by <", ("LIKE",)),
    ("run_id = 'abc'", 9, "is not an id", ()),
    ("createdAt > 'yesterday'", 12, "is not a time", ()),
    ("createdAt > '1969-12-31'", 12, "the time is out of range", ()),
    ("createdAt > 1769860800000000", 12, "in milliseconds", ()),
    ("createdAt > '-999999w'", 12, "is not a time", ()),
    ("'lr' = 3", 0, "only a field can be compared", ("params.lr",)),
    ("0.1 < metrics.loss", 0, "expected a field", ()),
    ("tags.team = 'open", 12, "the quote ' is never closed", ()),
    ("tags.team = 'a''b", 12, "the quote ' is never closed", ()),
    ("'; DROP TABLE run; --", 0, "the quote ' is never closed", ()),
    ("1; DROP TABLE run", 0, "expected a field", ()),
    ("metrics.loss < 1; DROP TABLE run", 16, "';' has no meaning here", ()),
    ("tags.team = 'nul\0'", 16, "NUL", ()),
    ("tags.team = '\ud83e'", 13, "half a character", ()),
    ("👩‍🔬 = 1", 0, "has no meaning here", ()),
    ("(" * 51 + "'a'" + ")" * 51, 50, "nested too deep", ()),
    ("NOT " * 60 + "'a'", 200, "nested too deep", ()),
    (" OR ".join(["'a'"] * 1_001), 7_000, "too many terms", ()),
    (f"params.lr IN ({','.join('1' * 1_001)})", 2_014, "too many terms", ()),
    (f"status = 'RUNNING' AND '{'a ' * 21}'", 23, "21 words", ()),
    # Where a parser that goes back would take for ever.
    ("''" * 32_767 + "'", 0, "never closed", ()),
    ("params." + "a." * 32_700, 65_407, "expected a key after the dot", ()),
    ("1" * 65_000 + "x", 65_000, "the number goes on", ()),
    ("-" * 65_000, 0, "has no meaning here", ()),
    ("(" * 65_000, 50, "nested too deep", ()),
    (" " * 65_537, 65_536, "the text is too long", ()),
]


@pytest.mark.parametrize(("text", "position", "message", "suggestions"), MISTAKES)
def test_a_mistake_is_shown_where_it_is(text: str, position: int, message: str, suggestions: tuple[str, ...]) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text, "select.where")

    error = caught.value
    assert (error.path, error.position) == ("select.where", position)
    assert error.message.startswith(f"select.where, character {position + 1}: ")
    assert message in error.message
    assert len(error.message) < 250
    assert all(suggestion in (error.hint or "") for suggestion in suggestions)
    assert error.limit is not None or " too " not in message


def test_many_conditions_are_within_the_limits() -> None:
    condition = parse(" OR ".join(f"metrics.loss < {number}" for number in range(1_000)), "where")

    assert isinstance(condition, Any)
    assert len(condition.conditions) == 1_000
    assert parse("(" * 50 + "metrics.loss < 1" + ")" * 50, "where") == A


def test_a_relative_time_is_counted_from_now() -> None:
    for text, ago in (("-7d", timedelta(days=7)), ("-90 m", timedelta(minutes=90)), ("now", timedelta())):
        before = datetime.now(UTC)
        condition = parse(f"createdAt > '{text}'", "where")
        assert isinstance(condition, Comparison)
        assert isinstance(condition.value, datetime)
        assert before <= condition.value + ago <= datetime.now(UTC)


def test_an_order_is_read() -> None:
    assert parse_order("metrics.loss", "orderBy") == Order(LOSS)
    assert parse_order("max(metrics.loss) desc", "orderBy") == Order(Field(Area.METRIC, "loss", Stat.MAX), True)
    assert parse_order("attributes.start_time ASC", "orderBy") == Order(Field(Area.ATTRIBUTE, Attribute.STARTED_AT))
    for text, position in (
        ("", 0),
        ("metrics.loss down", 13),
        ("datasets.name", 0),
        ("ancestorId DESC", 0),
        ("los", 0),
    ):
        with pytest.raises(Invalid) as caught:
            parse_order(text, "orderBy[0]")
        assert caught.value.position == position


def test_every_condition_can_be_written_as_text() -> None:
    run = NaiveRun(ID, "quiet basalt", "digits", "ada", "FAILED", NOON, NOON, NOON, "seeds", [ID], experiment_id=ID)
    run.params = {"lr": 0.1, "a b": "it's", 'q"q': True, "x.y": "%_\\", "größe/1": -3, "select": math.nan, ".": "\n"}
    run.metrics = {"loss": [1.0, -math.inf], "f1 score": [0.5], "": [1e-300]}
    run.tags = {"team": "ü'\"", "note": "hello world"}
    run.source = {"commit": "c0ffee", "dirty": True}
    run.datasets = [{"name": "mnist", "digest": "x", "context": ""}]
    randomly = Randomly(4, [run], {"loss": Stat.MIN})
    conditions = [randomly.condition(5) for _ in range(2_000)]

    assert len({type(condition) for condition in conditions}) == 7
    for condition in conditions:
        text = to_text(condition)
        assert repr(parse(text, "where")) == repr(condition), text
    empty = All((Not(Any(())), OneOf(LR, ()), All((A,))))
    assert to_text(empty) == "NOT FALSE AND FALSE AND metrics.loss < 1"
