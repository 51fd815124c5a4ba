"""LightGBM: `lightgbm.train(..., valid_sets=[...], callbacks=[RunstoneCallback()])`, or of an estimator's `fit`."""

from collections.abc import Iterator
from typing import Final

from lightgbm.callback import CallbackEnv, EarlyStopException

from runstone.integrations.writing import AnyRun, log_settings, run_or_new


class RunstoneCallback:
    """Writes the params and the metrics of each round to the run, such as valid_0/auc.

    Those of `cv` are a mean and a deviation.
    """

    order: Final = 25  # behind those that record, before the one that stops early
    before_iteration: Final = False

    def __init__(self, run: AnyRun | None = None) -> None:
        self._given = run
        self._run: AnyRun | None = None

    def __call__(self, env: CallbackEnv) -> None:
        """Log the round; end the training when somebody asked for that."""
        if self._run is None:
            self._run = run_or_new(self._given)
            log_settings(self._run, env.params)
        self._run.log(dict(_metrics(env)), env.iteration)
        if self._run.stop_requested:
            raise EarlyStopException(env.iteration, env.evaluation_result_list or [])


def _metrics(env: CallbackEnv) -> Iterator[tuple[str, float]]:
    for data, metric, value, _, *deviation in env.evaluation_result_list or ():
        yield f"{data}/{metric}", value
        if deviation:
            yield f"{data}/{metric}_std", deviation[0]
