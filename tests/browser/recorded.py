"""Two runs as a user's script makes them: the second begun with changes that were not committed."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Client

SCRIPT = Path(__file__).parent / "training.py"
NAMES = ("first-otter-1", "second-fox-2")
CHANGE = "# tuned by hand\n"
MODEL = "model/weights.pt"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run, and where its files were."""

    id: str
    name: str
    folder: Path

    @property
    def model(self) -> bytes:
        """What was uploaded as `MODEL`."""
        return (self.folder / MODEL).read_bytes()


def git(repository: Path, *words: str) -> None:
    """Run git there, whoever the user is."""
    subprocess.run(
        ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words], cwd=repository, check=True
    )


def record(client: Client, home: Path) -> tuple[Recorded, Recorded]:
    """Train twice in a repository, in the client's project."""
    repository = home / "repository"
    repository.mkdir()
    script = Path(shutil.copy(SCRIPT, repository))
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "Train")
    first = train(client, script, 1, home)
    with script.open("a") as source:
        source.write(CHANGE)
    return first, train(client, script, 2, home)


def train(client: Client, script: Path, seed: int, home: Path) -> Recorded:
    """What one start of the script recorded."""
    name, folder = NAMES[seed - 1], home / f"run-{seed}"
    settings = {"RUNSTONE_URL": client.server.url, "RUNSTONE_TOKEN": client.token, "RUNSTONE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, script.name, client.project, name, str(seed), str(folder)],
        cwd=script.parent,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Recorded(done.stdout.split()[-1], name, folder)
