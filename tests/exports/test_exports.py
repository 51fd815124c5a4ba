"""What was logged is in the files, exactly, and only what the asker may see."""

import struct
from typing import Any
from uuid import uuid4

from db.access import Role
from tests.api.test_compare import upload
from tests.api.test_metrics import LOG_METRICS, START_MS, packed
from tests.api.test_runs import FINISH
from tests.conftest import Client, People
from tests.exports.conftest import exported, project_id, tables

ODD = [
    0.0,
    -0.0,
    float("inf"),
    float("-inf"),
    5e-324,
    0.1,
    1e308,
    -1 / 3,
    *struct.unpack("<2d", b"\0" * 6 + b"\xf8\x7f" + b"\1" + b"\0" * 5 + b"\xf8\x7f"),
]


def bits(values: list[float]) -> list[bytes]:
    """Each float as its 8 bytes: only those tell -0.0 from 0.0, and one NaN from another."""
    return [struct.pack("<d", value) for value in values]


async def log(client: Client, run_id: str, keys: list[str], steps: list[int], values: list[float]) -> None:
    """Log a block."""
    block = {
        "seq": 0,
        "keys": keys,
        "steps": packed("q", steps),
        "times": packed("q", [START_MS + step % 1000 for step in steps]),
        "values": packed("d", values),
    }
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, "writerId": str(uuid4()), "blocks": [block]}))[
        "logMetrics"
    ]
    assert answer["__typename"] == "LogMetricsPayload", answer


async def test_odd_values_are_exported_exactly(client: Client) -> None:
    params: dict[str, tuple[str, Any]] = {
        "lr": ("FLOAT", 0.1),
        "nan": ("FLOAT", "NaN"),
        "zero": ("FLOAT", -0.0),
        "große Länge": ("STRING", "ünï \u2028 ' \" 🙂"),
        "empty": ("STRING", ""),
        "int": ("INT", -(2**63)),
        "no": ("BOOL", False),
        "nothing": ("NULL", None),
        "list": ("JSON", {"b": [1, None], "a": "x"}),
    }
    run_id = await client.create_run(
        name="odd",
        params=[{"key": key, "type": type_, "value": value} for key, (type_, value) in params.items()],
        tags=[{"key": "team", "value": "vision"}, {"key": "note", "value": ""}],
        source={"commit": "abc", "dirty": True, "argv": ["train.py", "--lr", ""]},
        environment={"python": "3.11", "gpus": ["a", "b"], "packages": [{"name": "numpy", "version": "2.0"}]},
    )
    steps = [2**63 - 1, 0, 7, 7, 3, 5, 6, 8, 9, 10]
    await log(client, run_id, ["loss", "größe"], steps, [*ODD, *ODD[::-1]])
    await upload(client, run_id, "model/weights.bin", b"weights")
    await client.ask(FINISH, input={"runId": run_id, "waitSeconds": 20})
    child_id = await client.create_run(name="live", parentId=run_id)

    export = await exported(client)
    found, manifest = await tables(export)

    live, odd = found["RUNS"].to_pylist()
    assert (live["run_id"], live["parent_id"], live["status"], live["finished_at"]) == (
        child_id,
        run_id,
        "RUNNING",
        None,
    )
    assert live["tags"] == []
    assert (odd["run_id"], odd["name"], odd["status"], odd["project"]) == (run_id, "odd", "FINISHED", client.project)
    assert (odd["source_commit"], odd["source_dirty"], odd["source_argv"]) == ("abc", True, ["train.py", "--lr", ""])
    assert (odd["python"], odd["gpus"]) == ("3.11", ["a", "b"])
    assert dict(odd["tags"]) == {"team": "vision", "note": ""}
    assert {row["key"]: (row["type"], row["text"]) for row in found["PARAMS"].to_pylist()} == {
        "lr": ("FLOAT", "0.1"),
        "nan": ("FLOAT", "NaN"),
        "zero": ("FLOAT", "-0.0"),
        "große Länge": ("STRING", "ünï \u2028 ' \" 🙂"),
        "empty": ("STRING", ""),
        "int": ("INT", "-9223372036854775808"),
        "no": ("BOOL", "false"),
        "nothing": ("NULL", "null"),
        "list": ("JSON", '{"a":"x","b":[1,null]}'),
    }
    numbers = {row["key"]: row["number"] for row in found["PARAMS"].to_pylist()}
    assert bits([numbers["nan"], numbers["zero"]]) == bits([ODD[8], -0.0])
    assert numbers["no"] is None
    points = found["POINTS"]
    for key, values in (("loss", ODD), ("größe", ODD[::-1])):
        rows = [row for row in points.to_pylist() if row["key"] == key]
        assert [row["step"] for row in rows] == steps
        assert [int(row["time"].timestamp() * 1000) for row in rows] == [START_MS + step % 1000 for step in steps]
        assert bits([row["value"] for row in rows]) == bits(values)
        assert {(row["run_id"], row["attempt"]) for row in rows} == {(run_id, 1)}
    [loss] = [row for row in found["METRICS"].to_pylist() if row["key"] == "loss"]
    assert (loss["count"], loss["non_finite"], loss["min"], loss["max"], loss["last_step"]) == (
        10,
        4,
        -1 / 3,
        1e308,
        2**63 - 1,
    )
    assert {(row["key"], row["value"]) for row in found["TAGS"].to_pylist()} == {("team", "vision"), ("note", "")}
    [file] = found["ARTIFACTS"].to_pylist()
    assert (file["path"], file["size_bytes"]) == ("model/weights.bin", 7)
    assert found["PACKAGES"].to_pylist() == [{"run_id": run_id, "name": "numpy", "version": "2.0"}]
    assert found["INPUTS"].num_rows == 0
    assert (manifest["project"], manifest["runs"], manifest["points"]) == (client.project, 2, 20)
    assert export["progress"] == {"runsDone": 2, "runsTotal": 2, "points": 20}


async def test_only_what_is_selected_and_seen_is_exported(client: Client, people: People, stranger: Client) -> None:
    logger = await people.member(client.project, Role.LOGGER)
    ours = await client.create_run(experiment="a", params=[{"key": "lr", "value": 1}])
    theirs = await logger.create_run(experiment="a")
    await client.create_run(experiment="b")

    everything = await exported(client, tables=["RUNS"])
    filtered = await exported(
        client,
        select={"where": "params.lr = 1 AND createdAt > '-7d'", "filter": {"attribute": {"experiment": {"eq": "a"}}}},
        tables=["RUNS"],
    )
    own = await exported(logger, tables=["RUNS"])
    selected = await exported(client, select={"runIds": [ours]}, tables=["PARAMS", "RUNS"])

    found, _ = await tables(everything)
    assert found["RUNS"].num_rows == 3
    found, manifest = await tables(filtered)
    assert found["RUNS"]["run_id"].to_pylist() == [ours]
    assert manifest["selection"]["where"] == filtered["where"]
    assert "params.lr = 1 AND " in filtered["where"]
    found, _ = await tables(own)
    assert found["RUNS"]["run_id"].to_pylist() == [theirs]
    found, manifest = await tables(selected)
    assert list(found) == ["RUNS", "PARAMS"]
    assert found["RUNS"]["run_id"].to_pylist() == [ours]
    assert manifest["selection"] == {"projectId": await project_id(client), "runIds": [ours]}
