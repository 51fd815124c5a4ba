"""Memory: what a round of work needed goes back to the system.

Compacting needs tens of MiB for a moment, the more the larger the chunks are that it makes. glibc keeps what was freed
for the next time, in an arena for each thread, so that the process seems to grow for an hour.
"""

import ctypes
from typing import Any, Final

M_ARENA_MAX: Final = -8  # from malloc.h

_libc: Final[Any] = ctypes.CDLL(None)


def share_arena() -> None:
    """Let all threads allocate in one arena, which is the only kind that `give_back` makes small."""
    if hasattr(_libc, "mallopt"):  # other libraries than glibc need no asking
        _libc.mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Give freed memory back now; costs some milliseconds."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
