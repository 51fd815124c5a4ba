"""scikit-learn: each outermost fit becomes a run while autolog is on."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import runstone
from runstone.integrations.sklearn import autolog


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    features = np.random.default_rng(0).normal(size=(100, 3))
    return features, (features[:, 0] > 0).astype(int)


class Failing(ClassifierMixin, BaseEstimator):
    """An estimator that cannot be scored, with a secret."""

    def __init__(self, api_key: str = "hunter2") -> None:
        self.api_key = api_key

    def fit(self, X: Any, y: Any) -> "Failing":  # noqa: N803  # as scikit-learn names it
        if len(X) < 10:
            raise ValueError("too few")
        return self


def test_a_pipeline_is_one_run_with_its_params_and_score(experiment: str, data: tuple[Any, Any]) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))

    with autolog(experiment=experiment, log_models=True):
        pipeline.fit(*data)
    LogisticRegression().fit(*data)

    [run] = runstone.runs(experiment=experiment)
    record = runstone.run(run.id)
    assert (record.name, record.status) == ("Pipeline", "FINISHED")
    assert record.params["estimator"] == "Pipeline"
    assert record.params["logisticregression__C"] == 0.5
    assert record.metrics["training_score"].last == pipeline.score(*data)
    assert {one.path for one in record.artifacts} >= {"model/model.joblib", "model/MODEL.json"}


def test_a_search_says_what_it_found(experiment: str, data: tuple[Any, Any]) -> None:
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)

    with runstone.start_run(experiment=experiment) as run, autolog(run):
        search.fit(*data)

    record = runstone.run(run.id)
    assert record.params["best_params.C"] == search.best_params_["C"]
    assert record.metrics["best_score"].last == search.best_score_
    assert len(runstone.runs(experiment=experiment)) == 1


def test_a_fit_is_a_child_of_the_active_run_and_fails_with_its_error(experiment: str, data: tuple[Any, Any]) -> None:
    with runstone.start_run(experiment=experiment) as parent, autolog(experiment=experiment):
        Failing().fit(*data)
        with pytest.raises(ValueError, match="too few"):
            Failing().fit([], [])

    failed, fine = (runstone.run(run.id) for run in runstone.runs(where=f"parentId = '{parent.id}'"))
    assert (fine.status, failed.status) == ("FINISHED", "FAILED")
    assert fine.params["api_key"] == "***"
