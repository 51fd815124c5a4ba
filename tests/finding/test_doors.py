"""The two doors of filters over HTTP: what they refuse and how they say so, and that they work together."""

from typing import Any

from tests.conftest import Client

RUNS = """
    query ($select: RunSelection!, $orderBy: [RunOrder!], $first: Int! = 50, $after: Cursor) {
      runs(select: $select, orderBy: $orderBy, first: $first, after: $after) {
        nodes { id } pageInfo { hasNextPage endCursor }
      }
    }
"""
CHECK = """
    query ($where: String!) { checkFilter(where: $where) { ok message position suggestions } }
"""


async def test_a_search_box_is_told_what_is_wrong(client: Client) -> None:
    good = await client.ask(CHECK, where="createdAt > '-7d'")
    bad = await client.ask(CHECK, where="status = 'RUNNING' AND creatdAt > '-7d'")

    assert good["checkFilter"] == {"ok": True, "message": None, "position": None, "suggestions": []}
    assert bad["checkFilter"] == {
        "ok": False,
        "message": "there is no field creatdAt",
        "position": 23,
        "suggestions": ["createdAt"],
    }


async def test_a_wrong_text_is_refused_with_the_place(client: Client) -> None:
    error = await client.refused(RUNS, select={"where": "metrics.loss <"})
    of_order = await client.refused(RUNS, select={}, orderBy=[{"text": "createdAt DESC"}, {"text": "metrics.loss up"}])

    assert error["message"].startswith("select.where, character 15: metrics.loss is compared with a number")
    assert {key: error["extensions"][key] for key in ("code", "path", "position")} == {
        "code": "VALIDATION",
        "path": "select.where",
        "position": 14,
    }
    assert (of_order["extensions"]["path"], of_order["extensions"]["position"]) == ("orderBy[1].text", 13)
    assert of_order["extensions"]["hint"] == "did you mean ASC, DESC?"


def nested(levels: int) -> dict[str, Any]:
    """A filter so many levels deep."""
    inner: dict[str, Any] = {"mentions": "x"}
    for _ in range(levels):
        inner = {"not": inner}
    return inner


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "filter", "is empty"),
    ({"param": {"key": "lr"}}, "filter.param", "is empty"),
    ({"and": []}, "filter.and", "is empty"),
    ({"or": []}, "filter.or", "is empty"),
    ({"or": [{"mentions": "x"}, {}]}, "filter.or[1]", "is empty"),
    ({"attribute": {}}, "filter.attribute", "is empty"),
    ({"attribute": {"name": {}}}, "filter.attribute.name", "is empty"),
    ({"param": {"key": "lr", "in": [1, {"a": 2}]}}, "filter.param.in[1]", "neither a text nor a number"),
    ({"param": {"key": "lr", "gt": True}}, "filter.param.gt", "have no order"),
    ({"param": {"key": "a\0", "eq": 1}}, "filter.param.key", "NUL"),
    ({"attribute": {"parentId": {"eq": "x"}}}, "filter.attribute.parentId.eq", "is not an id"),
    ({"attribute": {"createdAt": {"gt": "1901-01-01T00:00:00Z"}}}, "filter.attribute.createdAt.gt", "is 1901"),
    ({"param": {"key": "lr", "in": [1] * 1_001}}, "filter.param.in", "too many terms"),
    ({"or": [{"mentions": "a " * 21}]}, "filter.or[0].mentions", "21 words"),
]


async def test_a_typed_filter_that_asks_nothing_or_too_much_is_refused(client: Client) -> None:
    for given, path, message in REFUSED:
        error = await client.refused(RUNS, select={"filter": given})

        assert message in error["message"]
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("VALIDATION", f"select.{path}")

    assert (await client.refused(RUNS, select={"filter": nested(60)}))["extensions"]["code"] == "QUERY_TOO_COMPLEX"


NO_ORDERS: list[tuple[dict[str, Any], str]] = [
    ({}, "neither a text nor an area and a key"),
    ({"area": "PARAM"}, "neither a text nor an area and a key"),
    ({"text": "params.lr", "area": "PARAM", "key": "lr"}, "both a text and a key"),
    ({"area": "ATTRIBUTE", "key": "creatdAt"}, "there is no attributes.creatdAt"),
    ({"area": "ATTRIBUTE", "key": "ancestorId"}, "they give no order"),
    ({"area": "DATASET", "key": "name"}, "they give no order"),
]


async def test_an_order_that_is_none_is_refused(client: Client) -> None:
    for order, message in NO_ORDERS:
        error = await client.refused(RUNS, select={}, orderBy=[order])

        assert message in error["message"]
        assert error["extensions"]["code"] == "VALIDATION"

    too_many = await client.refused(RUNS, select={}, orderBy=[{"text": "params.lr"}] * 6)
    assert (too_many["extensions"]["path"], too_many["extensions"]["limit"]) == ("orderBy", "5 orders")


async def test_both_doors_at_once_are_both_obeyed(client: Client) -> None:
    wanted = await client.create_run(params=[{"key": "lr", "value": 1}], tags=[{"key": "team", "value": "vision"}])
    await client.create_run(params=[{"key": "lr", "value": 1}])
    await client.create_run(params=[{"key": "lr", "value": 2}], tags=[{"key": "team", "value": "vision"}])

    select = {"where": "params.lr = 1", "filter": {"tag": {"key": "team", "eq": "vision"}}}
    found = (await client.ask(RUNS, select=select))["runs"]["nodes"]

    assert found == [{"id": wanted}]


async def test_a_relative_time_can_be_paged_through(client: Client) -> None:
    created = [await client.create_run() for _ in range(3)]
    select = {"where": "createdAt > '-7d'"}

    found, after = [], None
    while True:
        page = (await client.ask(RUNS, select=select, first=2, after=after))["runs"]
        found += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    assert found == created[::-1]
