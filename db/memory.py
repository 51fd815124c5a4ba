"""Memory: what never changes is asked of the database once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """A bounded cache; when it is full it forgets everything."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._weight = 0
        self._values: dict[K, V] = {}
        self._asking: dict[K, asyncio.Lock] = {}

    def get(self, key: K) -> V | None:
        """What is known."""
        return self._values.get(key)

    def put(self, key: K, value: V, *, weight: int = 1) -> None:
        """Know this from now on."""
        if self._weight + weight > self._weight_max:
            self._values.clear()
            self._weight = 0
        self._values[key] = value
        self._weight += weight

    async def find(self, key: K, ask: Callable[[], Awaitable[V]], *, weight: int = 1) -> V:
        """What is known, or what `ask` finds; many who come at once wait for the one who asks first.

        If that one fails or leaves, the next asks.
        """
        if (known := self._values.get(key)) is not None:
            return known
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (known := self._values.get(key)) is not None:
                    return known
                found = await ask()
                self.put(key, found, weight=weight)
                return found
        finally:
            if not lock.locked():
                self._asking.pop(key, None)
