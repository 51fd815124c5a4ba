"""The load generator: many kept connections in a process of its own, so that it is not what is measured.

A talker says what one connection sends. Its `talk` yields whole requests and is sent the body of each answer, so a
request may depend on the answer before; it raises `Refused` when an answer is wrong.
"""

import asyncio
import math
import multiprocessing
import time
from array import array
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import uvloop

from benchmarks.wire import Door, Line

TICK_S: Final = 0.001  # how exactly a paced load keeps its times
DRAIN_S: Final = 60.0  # how long the last answers may take
FAILURES_KEPT: Final = 5

Talk: TypeAlias = Generator[bytes, bytes, None]


class Talker(Protocol):
    """What one connection sends."""

    def talk(self) -> Talk:
        """The conversation."""


@dataclass(frozen=True, slots=True)
class Load:
    """One connection for each talker, each with one request in flight.

    It goes on until the talkers end or `seconds` are over. With `per_s` the requests of all connections start at fixed
    times, and their latency counts from those times, also when no connection was free.
    """

    door: Door
    talkers: Sequence[Talker]
    seconds: float = math.inf
    warm_up_s: float = 0.0  # left out of the figures
    per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `answered` is for each talker how many of its requests were, those of the warm-up too."""

    answered: tuple[int, ...]
    seconds: float
    per_s: float
    p50_ms: float
    p99_ms: float
    busy: float  # the part of a core that the generator itself used
    failures: tuple[str, ...]


class Generating:
    """A process that drives loads."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    async def drive(self, load: Load) -> Outcome:
        """Drive the load to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, _drive, load)


@contextmanager
def generating() -> Iterator[Generating]:
    """A generator whose process ends with the block."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield Generating(executor)


def _drive(load: Load) -> Outcome:
    return uvloop.run(_Driver(load).run())


class _Driver:
    """Drives one load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._voices = [_Voice(self, talker.talk()) for talker in load.talkers]
        self._talking = len(self._voices)
        self._over = asyncio.Event()
        self._due: deque[float] = deque()
        self._idle: deque[_Voice] = deque()
        self._start = self._end = self._counted_from = 0.0
        self._latencies = array("d")
        self._last = 0.0
        self.failures: list[str] = []

    async def run(self) -> Outcome:
        """Connect, then measure."""
        door = self._load.door
        loop = asyncio.get_running_loop()
        for voice in self._voices:
            await loop.create_connection(lambda voice=voice: voice.line, door.host, door.port)  # type: ignore[misc]
        self._start = self._last = time.perf_counter()
        self._counted_from = self._start + self._load.warm_up_s
        self._end = self._start + self._load.seconds
        cpu = time.process_time()
        pacing = asyncio.create_task(self._pace()) if self._load.per_s else None
        for voice in self._voices:
            self.next(voice)
        await self._until_over()
        cpu = time.process_time() - cpu
        if pacing is not None:
            pacing.cancel()
        for voice in self._voices:
            voice.line.close()
        return self._outcome(cpu)

    async def _until_over(self) -> None:
        limit = self._load.seconds + DRAIN_S if math.isfinite(self._load.seconds) else None
        try:
            async with asyncio.timeout(limit):
                await self._over.wait()
        except TimeoutError:
            self.failures.append(f"{self._talking} requests were not answered within {DRAIN_S:g} s")

    async def _pace(self) -> None:
        """Make requests due at their times, and start them on free connections."""
        assert self._load.per_s is not None
        every_s, due = 1 / self._load.per_s, self._start
        while True:
            now = time.perf_counter()
            while due <= min(now, self._end):
                self._due.append(due)
                due += every_s
            while self._due and self._idle:
                self._idle.popleft().ask(self._due.popleft())
            if now >= self._end:
                while self._idle:
                    self.done(self._idle.popleft())
                return
            await asyncio.sleep(TICK_S)

    def next(self, voice: "_Voice") -> None:
        """Let the voice ask again, now or when a request is due."""
        now = time.perf_counter()
        if now >= self._end:
            self.done(voice)
        elif self._load.per_s is None:
            voice.ask(now)
        elif self._due:
            voice.ask(self._due.popleft())
        else:
            self._idle.append(voice)

    def count(self, asked: float) -> None:
        """Note an answer."""
        self._last = now = time.perf_counter()
        if self._counted_from <= now <= self._end:
            self._latencies.append(now - asked)

    def done(self, voice: "_Voice") -> None:
        """Note that a voice says no more."""
        if not voice.is_done:
            voice.is_done = True
            self._talking -= 1
            if not self._talking:
                self._over.set()

    def fail(self, voice: "_Voice", failure: str) -> None:
        """Note what went wrong; the voice says no more."""
        if not voice.is_done:
            self.failures.append(failure)
            self.done(voice)

    def _outcome(self, cpu: float) -> Outcome:
        counted_s = min(self._last, self._end) - self._counted_from
        latencies = np.frombuffer(self._latencies, "<f8") * 1000 if self._latencies else np.array([math.nan])
        return Outcome(
            answered=tuple(voice.answered for voice in self._voices),
            seconds=self._last - self._start,
            per_s=len(self._latencies) / counted_s if counted_s > 0 else 0.0,
            p50_ms=float(np.percentile(latencies, 50)),
            p99_ms=float(np.percentile(latencies, 99)),
            busy=cpu / max(self._last - self._start, 1e-9),
            failures=tuple(self.failures[:FAILURES_KEPT]),
        )


class _Voice:
    """A talker on its connection."""

    def __init__(self, driver: _Driver, talk: Talk) -> None:
        self._driver = driver
        self._talk = talk
        self._request = next(talk)
        self._asked = 0.0
        self.answered = 0
        self.is_done = False
        self.line = Line(self._on_answer, self._on_end)

    def ask(self, asked: float) -> None:
        """Send the next request, which counts from the time `asked`."""
        self._asked = asked
        self.line.send(self._request)

    def _on_answer(self, status: int, body: bytes) -> None:
        if status != 200:
            self._driver.fail(self, f"{status}: {body[:300].decode(errors='replace')}")
            return
        self._driver.count(self._asked)
        try:
            self._request = self._talk.send(body)
        except StopIteration:
            self.answered += 1
            self._driver.done(self)
        except Exception as error:  # noqa: BLE001 - the parser, which calls this, would lose it
            self._driver.fail(self, f"{type(error).__name__}: {error}")
        else:
            self.answered += 1
            self._driver.next(self)

    def _on_end(self) -> None:
        self._driver.fail(self, "the connection was closed")
