"""The command `runstone`."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Never

from runstone.errors import NotFound, RunstoneError
from runstone.terminal import Styled, Table, painted, printable, show

CUT_SHORT: Final = 141  # as a shell tells of SIGPIPE
SERVER_COMMANDS: Final = {
    "up": "Start everything on this machine: database, queue, object store, server and worker",
    "server": "Start the server only, against your own Postgres, Redis and S3",
    "worker": "Start a worker only",
    "migrate": "Bring the database to the form that this version needs",
    "doctor": "Check that every part can be reached and does what it should",
}
RUN_COMMANDS: Final = {
    "runs": "Find and list runs, the newest first",
    "show": "Show all that a run recorded",
    "compare": "Put runs side by side",
    "download": "Bring files of a run to this machine",
    "stop": "Ask whoever trains a run to stop",
    "sync": "Send what runs left on this machine while no server was there",
    "export": "Write runs as Parquet files for pandas, Polars, DuckDB and others",
}
PEOPLE_COMMANDS: Final = {
    "invite": "Make an account for somebody and print the link that lets them in",
}
SETTINGS: Final = {
    "RUNSTONE_URL": "the server (http://127.0.0.1:4747)",
    "RUNSTONE_TOKEN": "your token; on this machine the one in RUNSTONE_HOME is found by itself",
    "RUNSTONE_OFFLINE": "send nothing; `runstone sync` does it later",
    "RUNSTONE_SPOOL_DIR": "where runs are kept until the server has them (RUNSTONE_HOME/spool)",
    "RUNSTONE_QUIET": "no progress bars",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; the exit code. Errors are one line."""
    try:
        try:
            return _run(_parser(), list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads has enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return CUT_SHORT
    except (RunstoneError, OSError) as error:
        title = painted(Styled("error:", "bold red"), sys.stderr.isatty() and not os.environ.get("NO_COLOR"))
        print(title, printable(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    asked = parser.parse_args(arguments)
    if asked.command in SERVER_COMMANDS:
        from runstone import server

        server.replace_with(asked.command)
    if asked.version:
        show(f"runstone {_version()}")
    elif asked.command is None:
        parser.print_help()
    else:
        commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
            "runs": _runs,
            "show": _show,
            "compare": _compare,
            "download": _download,
            "stop": _stop,
            "sync": _sync,
            "export": _export,
            "invite": _invite,
        }
        return commands[asked.command](asked) or 0
    return 0


def _runs(asked: argparse.Namespace) -> None:
    import runstone
    from runstone import tables

    found = runstone.runs(
        asked.project, asked.experiment, asked.status, asked.limit, where=asked.where, order_by=asked.order_by
    )
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    show(tables.runs(found, width) if found else "No runs yet." if asked.where is None else "No such runs.")


def _show(asked: argparse.Namespace) -> None:
    import runstone
    from runstone import tables

    show(*tables.record(runstone.run(asked.run)))


def _compare(asked: argparse.Namespace) -> None:
    import runstone
    from runstone import tables

    show(tables.comparison(runstone.compare(asked.runs, asked.baseline, only_differences=asked.only_differences)))


def _download(asked: argparse.Namespace) -> None:
    import runstone

    show(str(runstone.download(asked.run, asked.path, asked.to)))


def _stop(asked: argparse.Namespace) -> None:
    import runstone

    is_new = runstone.request_stop(asked.run, asked.reason)
    show(f"run {asked.run} {'is' if is_new else 'was already'} asked to stop")


def _sync(asked: argparse.Namespace) -> int:
    from runstone import background
    from runstone.sync import Synced, describe

    if asked.folder is not None and not asked.folder.is_dir():
        raise NotFound(f"there is no folder {asked.folder}")
    told: dict[str, Synced] = {}

    def tell(synced: Synced) -> None:
        if told.get(synced.run_id) != synced:
            show(describe(synced))
        told[synced.run_id] = synced

    background.sync(asked.runs, asked.folder, follow=asked.follow, on_synced=tell)
    if not told:
        show("Nothing is left to send.")
    return int(any(synced.problem or synced.missing for synced in told.values()))


def _export(asked: argparse.Namespace) -> None:
    import runstone

    tables = asked.tables and [table.strip() for table in asked.tables.split(",")]
    done = runstone.export(
        asked.project, asked.experiment, asked.status, asked.run, tables, where=asked.where, to=asked.to
    )
    size = sum(file.size_bytes for file in done.files)
    show(f"{done.runs_done:,} runs, {done.points:,} points: {len(done.files)} files, {size:,} bytes in {done.folder}")


def _invite(asked: argparse.Namespace) -> None:
    import runstone

    link = runstone.create_account(
        asked.name, project=asked.project, role=asked.role, days=asked.days, is_admin=asked.admin
    )
    show(f"Send {asked.name} this link; it is not shown again. Scripts take what is behind token= as RUNSTONE_TOKEN.")
    show(f"  {link}")


class _Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> Never:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Front(_Parser):
    """`runstone --help`: what there is, in groups."""

    def print_help(self, file: Any = None) -> None:
        show("runstone - experiment tracking where every run is one immutable record\n")
        show("Usage  runstone COMMAND ...   (runstone COMMAND --help)\n")
        for title, rows in (
            ("Server", SERVER_COMMANDS),
            ("Runs", RUN_COMMANDS),
            ("People", PEOPLE_COMMANDS),
            ("Settings", SETTINGS),
        ):
            show(Table(title=title, rows=[(Styled(f"  {name:14}", "cyan"), text) for name, text in rows.items()]), "")


def _parser() -> argparse.ArgumentParser:
    front = _Front(prog="runstone")
    front.add_argument("--version", action="store_true")
    commands = front.add_subparsers(dest="command", parser_class=_Parser)

    for name, text in SERVER_COMMANDS.items():
        commands.add_parser(name, description=f"{text}. It is set up by RUNSTONE_* variables only.")

    runs = commands.add_parser("runs", description=RUN_COMMANDS["runs"])
    runs.add_argument("--project", help="only runs of this project")
    runs.add_argument("--experiment", help='only runs of this experiment (of the project "default", if none is named)')
    runs.add_argument(
        "--status",
        action="append",
        type=str.upper,
        choices=["RUNNING", "FINISHED", "FAILED", "KILLED", "LOST"],
        help="only runs with this status; may be repeated",
    )
    runs.add_argument(
        "--where",
        metavar="FILTER",
        help='only such runs, as "metrics.loss < 0.1 AND params.lr > 0.01" (docs/filters.md)',
    )
    runs.add_argument(
        "--order-by",
        metavar="FIELD",
        action="append",
        default=[],
        help='such as "max(metrics.accuracy) DESC"; may be repeated, for what is equal by the first',
    )
    runs.add_argument("--limit", type=_count, default=20, help="how many at most (20)")

    show = commands.add_parser("show", description=RUN_COMMANDS["show"])
    show.add_argument("run", metavar="RUN", help="the id of a run")

    compare = commands.add_parser("compare", description=RUN_COMMANDS["compare"])
    compare.add_argument("runs", metavar="RUN", nargs="+", help="the ids of runs")
    compare.add_argument("--baseline", metavar="RUN", help="the run that deltas are against (the first)")
    compare.add_argument("--only-differences", action="store_true", help="leave out what is the same in all")

    download = commands.add_parser("download", description=RUN_COMMANDS["download"])
    download.add_argument("run", metavar="RUN", help="the id of a run")
    download.add_argument("path", metavar="PATH", nargs="?", help="a file or folder of the run (all)")
    download.add_argument("--to", metavar="DIR", default=".", help="the folder to put them in (here)")

    stop = commands.add_parser(
        "stop", description=f"{RUN_COMMANDS['stop']}. It hears of it within 30 seconds; what it does is up to it."
    )
    stop.add_argument("run", metavar="RUN", help="the id of a run")
    stop.add_argument("--reason", metavar="TEXT", help="why; the run shows it")

    sync = commands.add_parser("sync", description=RUN_COMMANDS["sync"])
    sync.add_argument("runs", metavar="RUN", nargs="*", help="the ids of runs (all)")
    sync.add_argument("--follow", action="store_true", help="go on, and send what running processes log meanwhile")
    sync.add_argument("--folder", type=Path, help="where the spool is (RUNSTONE_SPOOL_DIR)")

    export = commands.add_parser("export", description=RUN_COMMANDS["export"])
    export.add_argument("--project", default="default", help='runs of this project ("default")')
    export.add_argument("--experiment", help="only runs of this experiment")
    export.add_argument(
        "--status",
        action="append",
        type=str.upper,
        choices=["RUNNING", "FINISHED", "FAILED", "KILLED", "LOST"],
        help="only runs with this status; may be repeated",
    )
    export.add_argument("--where", metavar="FILTER", help='only such runs, as "metrics.loss < 0.1" (docs/filters.md)')
    export.add_argument("--run", metavar="RUN", action="append", help="only the run with this id; may be repeated")
    export.add_argument(
        "--tables", help="some of runs,params,metrics,points,tags,inputs,artifacts,packages, by commas (all)"
    )
    export.add_argument("--to", metavar="DIR", required=True, help="the folder to put the files in")

    invite = commands.add_parser("invite", description=f"{PEOPLE_COMMANDS['invite']}; if you manage the instance.")
    invite.add_argument("name", metavar="NAME", help="who it is for")
    invite.add_argument("--project", default="default", help='a project of yours to let them into ("default")')
    invite.add_argument(
        "--role",
        type=str.upper,
        choices=["VIEWER", "LOGGER", "EDITOR", "OWNER"],
        default="EDITOR",
        help="what they may do there (EDITOR)",
    )
    invite.add_argument("--days", type=int, default=90, help="how long the link and its token work (90)")
    invite.add_argument("--admin", action="store_true", help="they manage the instance too")
    return front


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999999")
    return int(text)


def _version() -> str:
    from importlib.metadata import version

    return version("runstone")


if __name__ == "__main__":
    sys.exit(main())
