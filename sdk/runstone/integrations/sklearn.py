"""scikit-learn: `run.log_model(model)` keeps a model; `with autolog():` makes a run of every `fit`."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

from sklearn.base import BaseEstimator

import runstone
from runstone.integrations.writing import AnyRun, log, log_numbers, log_settings

_fitting = threading.local()


class autolog:  # noqa: N801  # it is called as a function
    """From now until `stop`, or in a `with` block: every `fit` of an estimator is recorded.

    Each outermost `fit`, not those that it calls in turn, is a run of its own, below the active run if there is one;
    or all go into `run`. Recorded are the estimator's params, secrets masked, and its `score` on the training data as
    training_score, and what a search found: best_params and best_score. `score=False` saves the time of scoring;
    `log_models` keeps each model. `start` goes to `start_run`, such as experiment="churn".

    It reaches the estimators that are imported by now.
    """

    def __init__(
        self, run: AnyRun | None = None, *, score: bool = True, log_models: bool = False, **start: Any
    ) -> None:
        self._run = run
        self._score = score
        self._log_models = log_models
        self._start = start
        self._replaced: list[tuple[type, Callable[..., Any]]] = []
        for kind in _estimators(BaseEstimator):
            if "fit" in vars(kind) and callable(vars(kind)["fit"]):
                self._replace(kind, vars(kind)["fit"])

    def stop(self) -> None:
        """Record no more."""
        for kind, fit in self._replaced:
            kind.fit = fit  # type: ignore[attr-defined]  # it had one
        self._replaced = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _replace(self, kind: type, fit: Callable[..., Any]) -> None:
        @functools.wraps(fit)
        def recorded(estimator: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(_fitting, "now", False):
                return fit(estimator, *args, **kwargs)
            with _outermost(), self._opened(estimator) as run:
                log_settings(run, {"estimator": type(estimator).__name__, **estimator.get_params()})
                fitted = fit(estimator, *args, **kwargs)
                self._record(run, estimator, args, kwargs)
            return fitted

        kind.fit = recorded  # type: ignore[attr-defined]  # it has one
        self._replaced.append((kind, fit))

    def _opened(self, estimator: Any) -> AbstractContextManager[AnyRun]:
        if self._run is not None:
            return nullcontext(self._run)  # whoever started it ends it
        try:
            parent = runstone.active_run()
        except runstone.NotFound:
            parent = None
        return runstone.start_run(**{"name": type(estimator).__name__, "parent": parent, **self._start})

    def _record(self, run: AnyRun, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What the fitted estimator says of itself; what it cannot say is no reason to lose it."""
        try:
            if hasattr(estimator, "best_params_"):
                log_settings(run, {"best_params": estimator.best_params_})
            numbers = {"best_score": getattr(estimator, "best_score_", None)}
            if self._score and hasattr(estimator, "score"):
                data = dict(zip(("X", "y"), args, strict=False)) | kwargs
                numbers["training_score"] = estimator.score(data["X"], data.get("y"))
            log_numbers(run, numbers)
            if self._log_models:
                run.log_model(estimator)
        except Exception as error:  # noqa: BLE001  # of code that is not ours
            log.warning("run %s: the fitted %s was not recorded: %s", run.id, type(estimator).__name__, error)


@contextmanager
def _outermost() -> Iterator[None]:
    _fitting.now = True
    try:
        yield
    finally:
        _fitting.now = False


def _estimators(kind: type) -> Iterator[type]:
    """All classes below this one that there are by now, each once."""
    seen: set[type] = set()
    waiting = [kind]
    while waiting:
        below: type
        for below in waiting.pop().__subclasses__():
            if below not in seen:
                seen.add(below)
                waiting.append(below)
                yield below
