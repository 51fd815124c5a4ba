"""Models as folders: what `log_model` uploads."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

DESCRIPTION: Final = "MODEL.json"
FILE: Final = "model.joblib"


def save(model: Any, folder: Path) -> None:
    """Write the estimator and a description of it into the folder. Raises `TypeError` when it is no estimator.

    The file is a pickle: whoever loads it runs what is in it, so load only models of people you trust.
    """
    if not callable(getattr(model, "fit", None)) or not callable(getattr(model, "get_params", None)):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise TypeError(f"log_model takes a scikit-learn estimator or the path of a folder, not {kind}")
    import joblib

    joblib.dump(model, folder / FILE)
    description = {
        "format": "joblib",
        "file": FILE,
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "python": platform.python_version(),
        "libraries": dict(sorted(_libraries(model))),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", "utf-8")


def _libraries(model: Any) -> Iterator[tuple[str, str]]:
    """The versions that the file depends on, by import name."""
    for name in {type(model).__module__.partition(".")[0], "joblib", "numpy", "scipy"}:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            yield name, version


def is_path(model: object) -> bool:
    """Whether the model is given as a folder."""
    return isinstance(model, str | os.PathLike)
