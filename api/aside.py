"""Aside: what takes a while is done in a thread beside the loop, so that those who log hardly notice.

In one thread only: however many ask for such work at once, the loop gets every other turn.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

# For how long a thread may keep the interpreter from the loop. The loop gives it away with each call of the system, so
# that Python's own 5 ms would be waited for several times in each request.
TURN_S: Final = 0.0002

T = TypeVar("T")

_thread: Final = ThreadPoolExecutor(1, "aside")


async def aside(work: Callable[[], T]) -> T:
    """What the work gives."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work)
