"""A progress bar for who waits for bytes to move."""

from typing import Any

from runstone import config


class Progress:
    """Counts bytes; a bar once `show` is called, if there is a terminal and RUNSTONE_QUIET is not set."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._total = 0
        self._done = 0
        self._bars: Any = None
        self._bar: Any = None

    def expect(self, size_bytes: int) -> None:
        """So many bytes more are to come."""
        self._total += size_bytes
        self._draw()

    def advance(self, size_bytes: int) -> None:
        """So many bytes are through; negative when they must go again."""
        self._done += size_bytes
        self._draw()

    def show(self) -> None:
        """Draw the bar from now on, if there is something left to wait for."""
        if self._bars is not None or self._done >= self._total or config.is_quiet():
            return
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        if not console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        bars = Bars(*columns, console=console)
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
