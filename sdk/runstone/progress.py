"""A progress bar for who waits."""

import shutil
import sys
from typing import Any

from runstone import config


class Progress:
    """Counts bytes, or what `unit` names; a bar once `show` is called, if there is a terminal and no RUNSTONE_QUIET."""

    def __init__(self, what: str, unit: str | None = None) -> None:
        self._what = what
        self._unit = unit
        self._total = 0
        self._done = 0
        self._bar: Any = None

    def expect(self, size_bytes: int) -> None:
        """So much more is to come."""
        self._total += size_bytes
        self._draw()

    def advance(self, size_bytes: int) -> None:
        """So much is through; negative when it must go again."""
        self._done += size_bytes
        self._draw()

    def show(self) -> None:
        """Draw the bar from now on, if there is something left to wait for."""
        if self._bar is not None or self._done >= self._total or config.is_quiet() or not _is_watched():
            return
        from tqdm.auto import tqdm

        class Bar(tqdm):  # type: ignore[misc]  # it has no types
            monitor_interval = 0  # no thread of its own, which a fork would lose

        unit = {"unit": "B", "unit_scale": True} if self._unit is None else {"unit": f" {self._unit}"}
        size = shutil.get_terminal_size()  # a sensible one also where the terminal has none
        room = {} if "ipykernel" in sys.modules else {"ncols": size.columns, "nrows": size.lines}
        self._bar = Bar(desc=self._what, total=self._total, initial=self._done, **unit, **room)

    def close(self) -> None:
        """Leave the line as it is."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.update(self._done - self._bar.n)


def _is_watched() -> bool:
    """Whether someone may see it: at a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
