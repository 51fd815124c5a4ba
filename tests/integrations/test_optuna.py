"""Optuna writes a run for each trial, below the sweep."""

import optuna
import pytest

import runstone
from runstone.integrations.optuna import RunstoneCallback


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial: optuna.Trial) -> float:
    x: float = trial.suggest_float("x", -10, 10)
    trial.report(x, 0)
    trial.report(x / 2, 1)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ValueError("no")
    return x**2


def test_each_trial_is_a_run_below_the_sweep(experiment: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    with runstone.start_run(experiment=experiment, name="sweep") as sweep:
        study.optimize(
            objective, n_trials=4, catch=ValueError, callbacks=[RunstoneCallback(sweep, experiment=experiment)]
        )

    found = {run.name: runstone.run(run.id) for run in runstone.runs(where=f"parentId = '{sweep.id}'")}
    assert {name: (run.tags["optuna.state"], run.status) for name, run in found.items()} == {
        "trial 0": ("COMPLETE", "FINISHED"),
        "trial 1": ("PRUNED", "FINISHED"),
        "trial 2": ("FAIL", "FAILED"),
        "trial 3": ("COMPLETE", "FINISHED"),
    }
    for trial in study.trials:
        run = found[f"trial {trial.number}"]
        assert run.params == trial.params
        assert run.metrics["intermediate"].last == trial.params["x"] / 2
    assert found["trial 0"].metrics["value"].last == study.trials[0].value
    assert runstone.run(sweep.id).metrics["best_value"].last == study.best_value


def test_a_study_of_several_values_names_them(experiment: str) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.set_metric_names(["loss", "accuracy"])
    callback = RunstoneCallback(experiment=experiment, group="both")

    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 0.5), n_trials=1, callbacks=[callback])

    [trial] = runstone.runs(experiment=experiment, where="name = 'trial 0'")
    record = runstone.run(trial.id)
    assert record.metrics["accuracy"].last == 0.5
    assert record.metrics["loss"].last == study.trials[0].params["x"]
    [sweep] = runstone.runs(experiment=experiment, where=f"name = '{study.study_name}'")
    assert runstone.active_run().id == sweep.id
    runstone.active_run().finish()


def test_a_study_ends_with_the_trial_when_its_sweep_is_asked_to_stop(stopping: runstone.Run, experiment: str) -> None:
    study = optuna.create_study()

    study.optimize(objective, n_trials=4, callbacks=[RunstoneCallback(stopping, experiment=experiment)])

    assert len(study.trials) == 1
