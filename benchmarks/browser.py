"""What a page costs the browser that shows it."""

from collections.abc import Sequence
from typing import Self

from playwright.async_api import CDPSession, Page


class Thread:
    """The thread of a page, on which its scripts, its layout and the painting of its canvases run."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session

    @classmethod
    async def of(cls, page: Page) -> Self:
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})
        return cls(session)

    async def worked_ms(self) -> float:
        """CPU it has used, in milliseconds: what it waited for others, as on cores that are shared, is not in it."""
        told = await self._session.send("Performance.getMetrics")
        metrics = {metric["name"]: metric["value"] for metric in told["metrics"]}
        return float(metrics["TaskDuration"]) * 1000


def at_95_of_100(samples: Sequence[float]) -> float:
    """The sample that 95 of 100 do not exceed."""
    return sorted(samples)[max(0, -(-95 * len(samples) // 100) - 1)]
