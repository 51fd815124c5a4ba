"""Install Runstone and everything in requirements.lock into .venv; what `make install` runs, with any Python >= 3.11.

It imports nothing but the standard library, since nothing else is there yet.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
LOG = VENV / "install.log"
REFUSAL_LINES = 5


def main() -> int:
    """Make or renew .venv; the exit code."""
    began = time.monotonic()
    if not _can_run():
        print(f"Making .venv with Python {sys.version.split()[0]} ({sys.executable})", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    LOG.unlink(missing_ok=True)
    print("Installing Runstone into .venv (about a minute the first time)", flush=True)
    done = _pip(["--require-hashes", "-r", str(LOCK)]) and _pip(["--no-build-isolation", "-e", str(ROOT)])
    if not done:
        print(f"\nThe installation failed; the whole story is in {LOG}. It ended with:", file=sys.stderr)
        print("\n".join(LOG.read_text().splitlines()[-REFUSAL_LINES:]), file=sys.stderr)
        return 1
    print(f"Installed in {time.monotonic() - began:.0f} s")
    return 0


def _can_run() -> bool:
    """Whether .venv is there and its Python still works: an upgrade of the system can take it away."""
    try:
        return subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _pip(arguments: list[str]) -> bool:
    """Install, showing each package as its turn comes; the full output goes to the log.

    The lock names everything, so pip has nothing to resolve: some releases of it leave the lock for `name[extra]`.
    """
    total = len(re.findall(r"^\w.*==", LOCK.read_text(), re.MULTILINE))
    seen = 0
    command = [str(PYTHON), "-m", "pip", "install", "--no-deps", "--no-input", "--progress-bar", "off", *arguments]
    with (
        LOG.open("a") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip,
    ):
        assert pip.stdout is not None
        for line in pip.stdout:
            log.write(line)
            if "(from -r " in line or line.startswith("Ignoring "):
                seen += 1
                _show(f"{seen} of {total} packages")
            elif line.startswith("Installing "):
                _show("unpacking")
    _show("")
    return pip.returncode == 0


def _show(text: str) -> None:
    """Replace the line that shows progress; nothing where nobody watches."""
    if sys.stdout.isatty():
        print(f"\r\033[K  {text}" if text else "\r\033[K", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
