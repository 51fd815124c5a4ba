"""XGBoost and LightGBM write each round to the run."""

from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

import runstone
from runstone.integrations.lightgbm import RunstoneCallback as LightGBMCallback
from runstone.integrations.xgboost import RunstoneCallback as XGBoostCallback

ROUNDS = 5


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    """Features and labels that follow from them."""
    features = np.random.default_rng(0).normal(size=(200, 4))
    return features, (features[:, 0] + features[:, 1] > 0).astype(int)


def values(run: runstone.Run, key: str) -> list[float]:
    [series] = runstone.series([run.id], [key])
    assert list(series.steps) == list(range(len(series.steps)))
    return list(series.values)


def test_xgboost_writes_each_round_as_it_reports_it(experiment: str, data: tuple[Any, Any]) -> None:
    train = xgboost.DMatrix(*data)
    reported: dict[str, Any] = {}

    with runstone.start_run(experiment=experiment) as run:
        xgboost.train(
            {"objective": "binary:logistic"},
            train,
            ROUNDS,
            evals=[(train, "train")],
            evals_result=reported,
            verbose_eval=False,
            callbacks=[XGBoostCallback(run)],
        )

    assert values(run, "train/logloss") == reported["train"]["logloss"]


def test_xgboost_estimators_write_to_the_active_run_and_stop_early(experiment: str, data: tuple[Any, Any]) -> None:
    with runstone.start_run(experiment=experiment) as run:
        model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=2, callbacks=[XGBoostCallback()])
        model.fit(*data, eval_set=[data], verbose=False)

    assert len(values(run, "validation_0/logloss")) == model.best_iteration + 3 or model.best_iteration == 199
    assert runstone.run(run.id).tags["best_iteration"] == str(model.best_iteration)


def test_xgboost_cross_validation_is_a_mean_and_a_deviation(experiment: str, data: tuple[Any, Any]) -> None:
    with runstone.start_run(experiment=experiment) as run:
        table = xgboost.cv(
            {"objective": "binary:logistic"}, xgboost.DMatrix(*data), ROUNDS, nfold=2, callbacks=[XGBoostCallback(run)]
        )

    assert values(run, "test/logloss") == table["test-logloss-mean"].tolist()
    assert values(run, "test/logloss_std") == table["test-logloss-std"].tolist()


def test_lightgbm_writes_params_and_each_round(experiment: str, data: tuple[Any, Any]) -> None:
    reported: dict[str, Any] = {}
    train = lightgbm.Dataset(*data)
    params = {"objective": "binary", "metric": ["auc", "binary_logloss"], "verbose": -1, "machine_token": "hunter2"}

    with runstone.start_run(experiment=experiment) as run:
        callbacks = [lightgbm.record_evaluation(reported), LightGBMCallback(run)]
        lightgbm.train(params, train, ROUNDS, valid_sets=[train], valid_names=["train"], callbacks=callbacks)

    assert values(run, "train/auc") == reported["train"]["auc"]
    assert values(run, "train/binary_logloss") == reported["train"]["binary_logloss"]
    logged = runstone.run(run.id).params
    assert logged["objective"] == "binary"
    assert logged["metric"] == ["auc", "binary_logloss"]
    assert logged["machine_token"] == "***"


def test_lightgbm_cross_validation_is_a_mean_and_a_deviation(experiment: str, data: tuple[Any, Any]) -> None:
    params = {"objective": "binary", "metric": "auc", "verbose": -1}

    with runstone.start_run(experiment=experiment) as run:
        table = lightgbm.cv(params, lightgbm.Dataset(*data), ROUNDS, nfold=2, callbacks=[LightGBMCallback(run)])

    assert values(run, "valid/auc") == table["valid auc-mean"]
    assert values(run, "valid/auc_std") == table["valid auc-stdv"]


def test_lightgbm_estimators_write_to_the_active_run(experiment: str, data: tuple[Any, Any]) -> None:
    with runstone.start_run(experiment=experiment) as run:
        lightgbm.LGBMClassifier(n_estimators=ROUNDS, verbose=-1).fit(
            *data, eval_X=data[0], eval_y=data[1], callbacks=[LightGBMCallback()]
        )

    assert len(values(run, "valid_0/binary_logloss")) == ROUNDS


def test_xgboost_ends_with_the_round_when_the_run_is_asked_to_stop(
    stopping: runstone.Run, data: tuple[Any, Any]
) -> None:
    train = xgboost.DMatrix(*data)

    model = xgboost.train({}, train, ROUNDS, evals=[(train, "train")], callbacks=[XGBoostCallback(stopping)])

    assert model.num_boosted_rounds() == 1


def test_lightgbm_ends_with_the_round_when_the_run_is_asked_to_stop(
    stopping: runstone.Run, data: tuple[Any, Any]
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=ROUNDS, verbose=-1)

    model.fit(*data, eval_set=[data], callbacks=[LightGBMCallback(stopping)])

    assert model.booster_.current_iteration() == 1
