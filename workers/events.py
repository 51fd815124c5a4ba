"""Events: numbered also while nobody is subscribed, so that few wait for the first who is; swept when they are old."""

from typing import Final

from db import events
from workers.work import Deps, Sweep


async def number(deps: Deps) -> None:
    """Number what happened."""
    await events.number(deps.pool)


async def delete_old(deps: Deps) -> None:
    """Delete events that are older than subscriptions may continue from."""
    await events.sweep(deps.pool)


SWEEPS: Final = (
    Sweep("number events", number, every_s=10),
    Sweep("delete old events", delete_old, every_s=600),
)
