"""What a round of work needed goes back to the system, also when it was freed by a thread."""

import subprocess
import sys

# Many arrays below the size that the C library gets from the system one by one; the last one stays, above the others.
ROUND = """
import threading

import numpy as np
import psutil

from workers import memory

memory.share_arena()
kept = []


def work():
    arrays = [np.ones(100_000, "u1") for _ in range(600)]
    kept.append(arrays[-1])


def mib():
    return psutil.Process().memory_info().rss / 2**20


before = mib()
thread = threading.Thread(target=work)
thread.start()
thread.join()
memory.give_back()
print(before, mib())
"""


def test_freed_memory_is_given_back() -> None:
    ended = subprocess.run([sys.executable, "-P", "-c", ROUND], capture_output=True, text=True, check=True, timeout=60)
    before, after = map(float, ended.stdout.split())
    assert after - before < 10, "of 57 MiB"
