"""XGBoost: `xgboost.train(..., evals=[(dtrain, "train")], callbacks=[RunstoneCallback()])`, or of an estimator."""

from collections.abc import Iterator, Mapping
from typing import Any

from xgboost.callback import TrainingCallback

from runstone.integrations.writing import AnyRun, run_or_new


class RunstoneCallback(TrainingCallback):
    """Writes the metrics of each round to the run, such as train/logloss; those of `cv` as a mean and a deviation."""

    def __init__(self, run: AnyRun | None = None) -> None:
        super().__init__()
        self._given = run
        self._run: AnyRun | None = None

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[Any]]]) -> bool:
        """Log the last value of each; True, which ends the training, when somebody asked for that."""
        if self._run is None:
            self._run = run_or_new(self._given)
        self._run.log(dict(_last(evals_log)), epoch)
        return self._run.stop_requested

    def after_training(self, model: Any) -> Any:
        """Keep which round was the best, where the training stopped early."""
        if self._run is not None and hasattr(model, "attr") and model.attr("best_iteration") is not None:
            self._run.set_tags({"best_iteration": model.attr("best_iteration"), "best_score": model.attr("best_score")})
        return model


def _last(evals_log: Mapping[str, Mapping[str, list[Any]]]) -> Iterator[tuple[str, float]]:
    for data, metrics in evals_log.items():
        for metric, history in metrics.items():
            value = history[-1]
            if isinstance(value, tuple):
                yield f"{data}/{metric}", value[0]
                yield f"{data}/{metric}_std", value[1]
            else:
                yield f"{data}/{metric}", value
