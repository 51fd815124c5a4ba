"""The lock names all that is installed: pip is told to look for nothing else."""

import subprocess
import sys


def test_nothing_that_is_installed_lacks_what_it_needs() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
