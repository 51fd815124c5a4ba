"""Optuna: `study.optimize(objective, callbacks=[RunstoneCallback(sweep)])`."""

from typing import Any, Final

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

import runstone
from runstone.integrations.writing import log_settings
from runstone.live import FinalStatus, Run

STATUSES: Final[dict[TrialState, FinalStatus]] = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.FAIL: "FAILED",
}


class RunstoneCallback:
    """Writes each trial as a run of its own, below the run `sweep`, when it has ended.

    A trial has its params, its values under the names of the study's metrics (value, when it has none), what it
    reported as the series `intermediate`, and its state as the tag optuna.state. The sweep gets the best value so far
    at the number of the trial; when somebody asks it to stop, the study ends. `start` goes to `start_run` of each
    trial, such as experiment="digits".
    """

    def __init__(self, sweep: Run | None = None, **start: Any) -> None:
        self._given = sweep
        self._start = start

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Write the trial that ended."""
        sweep = self._given if self._given is not None else self._sweep(study)
        tags = {"optuna.study": study.study_name, "optuna.state": trial.state.name}
        run = runstone.start_run(**{"name": f"trial {trial.number}", **self._start, "tags": tags, "parent": sweep})
        log_settings(run, trial.params)
        run.log(_values(study, trial), trial.number)
        for step, value in trial.intermediate_values.items():
            run.log({"intermediate": value}, step)
        run.finish(STATUSES.get(trial.state, "FINISHED"))
        if trial.state is TrialState.COMPLETE and len(study.directions) == 1:
            sweep.log({"best_value": study.best_value}, trial.number)
        if sweep.stop_requested:
            study.stop()

    def _sweep(self, study: Study) -> Run:
        self._given = runstone.start_run(**{"name": study.study_name, **self._start})
        return self._given


def _values(study: Study, trial: FrozenTrial) -> dict[str, float]:
    found = trial.values or []
    names = study.metric_names or (["value"] if len(found) == 1 else [f"value_{place}" for place in range(len(found))])
    return dict(zip(names, found, strict=False))
