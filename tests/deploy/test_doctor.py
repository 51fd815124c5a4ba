"""`runstone doctor` says what is wrong and what to do."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.local.home import free_port
from tests.conftest import Server

ROOT = Path(__file__).parents[2]


def doctor(home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """What `python -P -m deploy.doctor` prints for this home."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTONE_")}
    given = {**ours, "PYTHONPATH": str(ROOT), "RUNSTONE_HOME": str(home), "COLUMNS": "200", **env}
    program = [sys.executable, "-P", "-m", "deploy.doctor"]
    return subprocess.run(program, env=given, capture_output=True, text=True, timeout=60, check=False)


def test_doctor_finds_a_running_server_well(server: Server) -> None:
    found = doctor(server.settings.home)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("✓") == 4
    assert "enforces checksums and refuses to overwrite" in found.stdout


def test_doctor_says_what_to_do(server: Server, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port('127.0.0.1')}"
    found = doctor(
        tmp_path,
        RUNSTONE_DATABASE_URL=f"postgresql://x:secret-word@{nobody}/x",
        RUNSTONE_REDIS_URL=f"redis://:secret-word@{nobody}",
        RUNSTONE_S3_ENDPOINT_URL=f"http://{nobody}",
        RUNSTONE_S3_ACCESS_KEY_ID="x",
        RUNSTONE_S3_SECRET_ACCESS_KEY="secret-word",
        RUNSTONE_PORT=nobody.split(":")[1],
    )
    assert found.returncode == 1
    assert found.stdout.count("✗") == 4
    for advice in ("RUNSTONE_DATABASE_URL", "RUNSTONE_REDIS_URL", "RUNSTONE_S3_*", "runstone up"):
        assert advice in found.stdout
    assert "secret-word" not in found.stdout + found.stderr


def test_doctor_without_a_server_says_how_to_start_one(tmp_path: Path) -> None:
    found = doctor(tmp_path)
    assert found.returncode == 1
    assert "runstone up" in found.stderr
    assert "Traceback" not in found.stderr
