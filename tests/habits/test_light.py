"""What a training machine installs and imports is little."""

import ast
import re
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from hatch_build import carried

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk" / "runstone"
IN_WHEEL = ("api", "db", "deploy", "sdk", "storage", "workers", "settings.py")
SIZE_BYTES_MAX = 15_000_000
COMPILED = 1.4  # bytes of .pyc for a byte of source

BASE = {"httpx", "tqdm"}
WHEN_ASKED_FOR = {"joblib", "numpy", "pandas", "polars", "psutil", "pynvml"}
INTEGRATED = {"keras", "lightgbm", "lightning", "optuna", "pytorch_lightning", "sklearn", "transformers", "xgboost"}


def base_distributions() -> dict[str, Distribution]:
    """What the base install brings along, by name."""
    found: dict[str, Distribution] = {}
    waiting = ["runstone"]
    while waiting:
        for requirement in distribution(waiting.pop()).requires or ():
            match = re.match(r"[\w.-]+", requirement)
            assert match is not None
            if ";" not in requirement and match[0] not in found:
                found[match[0]] = distribution(match[0])
                waiting.append(match[0])
    return found


def test_the_base_install_is_under_15_mb_with_its_compiled_files() -> None:
    found = base_distributions()
    theirs = [Path(str(file.locate())) for one in found.values() for file in one.files or () if file.suffix != ".pyc"]
    ours = [path for name in IN_WHEEL for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file()]
    sources = [path for path in {*theirs, *ours} if path.is_file() and path.suffix != ".pyc"]
    pages = carried(ROOT / "dashboard" / "dist")

    size_bytes = sum(path.stat().st_size * (1 + COMPILED * (path.suffix == ".py")) for path in sources)
    size_bytes += sum(page.stat().st_size for page in pages)

    assert set(found) >= BASE
    assert 1_000_000 < size_bytes < SIZE_BYTES_MAX


def test_only_packed_files_are_carried_and_pages_as_they_are(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("index.html", "index.html.gz", "assets/a.js", "assets/a.js.gz", "assets/small.svg"):
        (tmp_path / name).touch()

    names = [path.relative_to(tmp_path).as_posix() for path in carried(tmp_path)]

    assert names == ["assets/a.js.gz", "assets/small.svg", "index.html", "index.html.gz"]


def test_the_client_imports_nothing_that_the_base_install_lacks() -> None:
    for path in SDK.rglob("*.py"):
        allowed = BASE | WHEN_ASKED_FOR | (INTEGRATED if path.parent.name == "integrations" else set())
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            others = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"runstone"}
            assert others <= allowed, f"{path} imports {others - allowed}"
