"""A progress bar for who waits."""

from typing import Any

from runstone import config


class Progress:
    """Counts bytes, or what `unit` names; a bar once `show` is called, if there is a terminal and no RUNSTONE_QUIET."""

    def __init__(self, what: str, unit: str | None = None) -> None:
        self._what = what
        self._unit = unit
        self._total = 0
        self._done = 0
        self._bars: Any = None
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
        if self._bars is not None or self._done >= self._total or config.is_quiet():
            return
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        if not console.is_terminal:
            return
        amounts = (
            (DownloadColumn(), TransferSpeedColumn())
            if self._unit is None
            else (MofNCompleteColumn(), TextColumn(self._unit))
        )
        bars = Bars(TextColumn("{task.description}"), BarColumn(), *amounts, console=console)
        try:
            bars.start()
        except LiveError:  # the program draws something of its own
            return
        self._bars, self._bar = bars, bars.add_task(self._what, total=self._total)
        self._draw()

    def close(self) -> None:
        """Leave the line as it is."""
        bars, self._bars = self._bars, None
        if bars is not None:
            bars.stop()

    def _draw(self) -> None:
        if self._bars is not None:
            self._bars.update(self._bar, total=self._total, completed=self._done)
