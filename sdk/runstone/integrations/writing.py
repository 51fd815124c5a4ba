"""How integrations write to a run: settings and numbers that a library handed over, not a person."""

import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

import runstone
from runstone import capture, values
from runstone.errors import Invalid, NotFound, ParamConflict
from runstone.live import AsyncRun, Run

log = logging.getLogger("runstone")

AnyRun: TypeAlias = Run | AsyncRun


def run_or_new(run: AnyRun | None) -> AnyRun:
    """The run, else the active run of the process, else a new one, which ends with the program."""
    if run is not None:
        return run
    try:
        return runstone.active_run()
    except NotFound:
        return runstone.start_run()


def log_settings(run: AnyRun, settings: Mapping[str, Any]) -> None:
    """Log them as params, secrets masked; what is no value of a param is logged as its text.

    A param that the run has already keeps its value, and a warning says so.
    """
    for key, value in values.flatten(capture.masked_params(settings)):
        try:
            run.log_params({key: _storable(key, value)})
        except (ParamConflict, Invalid) as error:
            log.warning("run %s: %s", run.id, error)


def _storable(key: str, value: Any) -> Any:
    try:
        values.param(key, value)
    except TypeError:
        return str(value)
    except Invalid:
        return str(value) if isinstance(value, list | tuple | int) else value  # such as a list with a NaN
    return value


def log_numbers(run: AnyRun, metrics: Mapping[str, Any], step: int | None = None) -> None:
    """Log those of the metrics that are one number."""
    numbers: dict[str, float] = {}
    for key, value in metrics.items():
        try:
            numbers[key] = values.number(key, value)
        except TypeError:
            continue
    run.log(numbers, step)
