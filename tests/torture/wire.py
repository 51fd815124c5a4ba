"""How the torture speaks to Runstone: GraphQL over HTTP, with each answer put in one of four kinds."""

import asyncio
import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import httpx
import numpy as np

from tests.torture.content import KEYS, Block

PATIENCE_S = 90.0
ANSWER_S = 5.0

Outcome: TypeAlias = Literal["stored", "later", "sealed", "odd"]

CREATE = """
    mutation ($input: CreateRunInput!) { createRun(input: $input) { __typename ... on UserError { code message } } }
"""
LOG = """
    mutation ($input: LogMetricsInput!) {
      logMetrics(input: $input) {
        __typename
        ... on LogMetricsPayload { nextSeq }
        ... on UserError { code message }
        ... on SeqConflict { expectedSeq }
      }
    }
"""
LOG_AND_FINISH = """
    mutation ($log: LogMetricsInput!, $finish: FinishRunInput!) {
      logMetrics(input: $log) { __typename ... on UserError { code message } }
      finishRun(input: $finish) { __typename ... on UserError { code message } }
    }
"""
FINISH = """
    mutation ($input: FinishRunInput!) { finishRun(input: $input) { __typename ... on UserError { code message } } }
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer amounts to: `later` says that the same request may be sent again."""

    outcome: Outcome
    text: str = ""
    data: dict[str, Any] | None = None
    status: int = 0


class Server:
    """Runstone behind an address. Open between `async with`."""

    def __init__(self, url: str, token: str, *, connections: int = 50, answer_s: float = ANSWER_S) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=httpx.Timeout(answer_s, pool=30),
            limits=limits,
            trust_env=False,
            verify=False,
        )

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def post(self, document: str, variables: dict[str, Any], *, packed: bool = False) -> Answer:
        """The answer to one request, whatever it is."""
        body = json.dumps({"query": document, "variables": variables}).encode()
        headers = {"Content-Encoding": "gzip"} if packed else {}
        try:
            response = await self._http.post(
                "/graphql", content=gzip.compress(body, 1) if packed else body, headers=headers
            )
        except httpx.TransportError as error:
            return Answer("later", repr(error))
        return answer_of(response)

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """The data of a request that is sent until it is answered."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await self.post(document, variables)
                if answer.data is not None and answer.outcome != "later":
                    return answer.data
                if answer.outcome == "odd":
                    raise AssertionError(answer.text)
                await asyncio.sleep(0.05)

    async def log(self, run_id: str, writer_id: str, blocks: list[Block], *, packed: bool = False) -> Answer:
        """Send the blocks once."""
        return await self.post(LOG, {"input": log_input(run_id, writer_id, blocks)}, packed=packed)


def answer_of(response: httpx.Response) -> Answer:
    """The kind of an answer."""
    status = response.status_code
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return Answer("later" if status in {429, 503} else "odd", f"{status} {response.text[:200]!r}", status=status)
    if errors := answer.get("errors"):
        later = (all(error["extensions"].get("retryable") for error in errors) and status < 500) or status in {429, 503}
        return Answer("later" if later else "odd", f"{status} {errors}", status=status)
    data: dict[str, Any] = answer["data"]
    failures = [one for one in data.values() if isinstance(one, dict) and "code" in one]
    if not failures:
        return Answer("stored", "", data, status)
    failure = failures[0]  # of two that are both unavailable
    if failure["__typename"] == "RunSealed":
        return Answer("sealed", failure["message"], data, status)
    if failure["__typename"] in {"SeqConflict", "Unavailable"}:
        return Answer("later", failure["message"], data, status)
    return Answer("odd", f"{failure}", data, status)


def log_input(run_id: str, writer_id: str, blocks: list[Block]) -> dict[str, Any]:
    """Blocks of a writer as they are sent."""
    return {"runId": run_id, "writerId": writer_id, "blocks": [block_input(block) for block in blocks]}


def block_input(block: Block) -> dict[str, Any]:
    """A block as it is sent: as numbers or as base64, which alone keeps the payload of a NaN."""
    steps, times, bits = block.wire()
    values = bits.view("<f8")
    as_text = bool(np.isnan(values).any()) or block.salt % 2 == 0
    return {
        "seq": block.seq,
        "keys": KEYS[: block.keys],
        "steps": _base64(steps.tobytes()) if as_text else steps.tolist(),
        "times": _base64(times.tobytes()) if as_text else times.tolist(),
        "values": _base64(bits.tobytes()) if as_text else [_number(value) for value in values.tolist()],
    }


def _number(value: float) -> float | str:
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _base64(column: bytes) -> str:
    return base64.b64encode(column).decode()
