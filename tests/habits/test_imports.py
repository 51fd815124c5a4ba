"""Imports point one way, so that a newcomer knows where to look."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"api", "db", "deploy", "runstone", "settings", "storage", "workers"}
MAY_IMPORT = {
    "api": {"api", "db", "storage", "settings", "workers.queue"},
    "workers": {"workers", "db", "storage", "settings"},
    "db": {"db"},
    "storage": {"storage", "settings"},
    "sdk": {"runstone"},
    "deploy": {"deploy", "db", "storage", "settings"},
}
# `python -m db` reads the settings, as every program does.
PROGRAMS = {ROOT / "db" / "__main__.py": {"db", "settings"}}


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, dotted."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in OURS}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        allowed = PROGRAMS.get(path, MAY_IMPORT[folder])
        for name in imported(path):
            assert any(f"{name}.".startswith(f"{each}.") for each in allowed), f"{path} imports {name}"


def test_only_settings_reads_the_environment() -> None:
    for folder in ("api", "db", "storage", "workers"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "os.environ" not in path.read_text(), f"{path} reads the environment"


def test_only_the_store_knows_the_s3_library() -> None:
    for folder in ("api", "db", "workers", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "boto" not in path.read_text(), f"{path} uses the S3 library"
