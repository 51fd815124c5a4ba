"""Many who ask for the same thing at once share the question."""

import asyncio

import pytest

from db.errors import NotFound
from db.memory import Memory


class Source:
    """Answers slowly, after it has failed some times, and counts how often it was asked."""

    def __init__(self, failures: int = 0) -> None:
        self.asked = 0
        self._failures = failures

    async def ask(self) -> str:
        """The answer."""
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.asked <= self._failures:
            raise NotFound("nothing yet")
        return "found"


async def test_many_ask_once() -> None:
    memory, source = Memory[str, str](10), Source()
    assert await asyncio.gather(*(memory.find("a", source.ask) for _ in range(50))) == ["found"] * 50
    assert (await memory.find("a", source.ask), memory.get("a"), source.asked) == ("found", "found", 1)


async def test_a_failure_is_its_own() -> None:
    memory, source = Memory[str, str](10), Source(failures=2)
    answers = await asyncio.gather(*(memory.find("a", source.ask) for _ in range(10)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotFound] * 2 + [str] * 8
    assert source.asked == 3


async def test_who_leaves_takes_nothing_along() -> None:
    memory, source = Memory[str, str](10), Source()
    leaving = asyncio.create_task(memory.find("a", source.ask))
    staying = [asyncio.create_task(memory.find("a", source.ask)) for _ in range(10)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert await asyncio.gather(*staying) == ["found"] * 10
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert source.asked == 2


async def test_a_full_memory_forgets() -> None:
    memory = Memory[str, int](3)
    for number, key in enumerate("abcd"):
        memory.put(key, number)
    assert [memory.get(key) for key in "abcd"] == [None, None, None, 3]
