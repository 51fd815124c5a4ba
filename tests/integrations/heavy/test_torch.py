"""PyTorch, Lightning, Transformers, Keras and JAX, as they are; run by `make integrations`."""

import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"  # before keras is imported

import jax.numpy as jnp
import keras
import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import runstone
from runstone import datasets, values
from runstone.integrations.huggingface import RunstoneCallback as HuggingFaceCallback
from runstone.integrations.keras import RunstoneCallback as KerasCallback
from runstone.integrations.lightning import RunstoneLogger

pytestmark = pytest.mark.timeout(300)

EPOCHS = 3


def record_of(run_id: str) -> runstone.RunRecord:
    return runstone.run(run_id)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (torch.tensor(0.5), 0.5),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
        (torch.tensor(2.5, requires_grad=True), 2.5),
        (torch.tensor(3), 3.0),
        (jnp.float32(0.25), 0.25),
        (jnp.array(1.5, dtype=jnp.bfloat16), 1.5),
    ],
)
def test_a_scalar_of_torch_and_jax_is_a_metric_and_a_param(experiment: str, value: Any, number: float) -> None:
    with runstone.start_run(experiment=experiment, params={"x": value}) as run:
        run.log({"x": value})

    record = record_of(run.id)
    assert record.metrics["x"].last == number
    assert record.params["x"] == number


@pytest.mark.parametrize("value", [torch.ones(2), jnp.ones((1, 1)), torch.tensor(True)])
def test_a_tensor_of_more_or_of_no_number_is_refused_by_its_key(value: Any) -> None:
    with pytest.raises(TypeError, match="'loss'"):
        values.number("loss", value)


def test_a_tensor_has_the_digest_of_its_numbers() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    digests = {datasets.described(one).digest for one in (array, torch.tensor(array), jnp.array(array))}

    assert len(digests) == 1


class Line(lightning.LightningModule):
    """Fits a line; fails in an epoch, when it is told to."""

    def __init__(self, lr: float = 0.1, hub_token: str = "hunter2", fail_in: int | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, index: int) -> Any:
        if self.current_epoch == self.hparams["fail_in"]:
            raise ValueError("told to")
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def test_step(self, batch: Any, index: int) -> None:
        self.log("test/loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def line_data() -> DataLoader[Any]:
    x = torch.linspace(0, 1, 16)[:, None]
    return DataLoader(TensorDataset(x, 2 * x), batch_size=4)


def trainer(logger: RunstoneLogger, folder: Path, **more: Any) -> lightning.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "log_every_n_steps": 1}
    return lightning.Trainer(max_epochs=EPOCHS, logger=logger, default_root_dir=folder, **quiet, **more)


def test_lightning_writes_settings_metrics_and_checkpoints(experiment: str, tmp_path: Path) -> None:
    logger = RunstoneLogger(experiment=experiment, log_checkpoints=True)
    training = trainer(logger, tmp_path, callbacks=[ModelCheckpoint(tmp_path / "checkpoints", filename="best")])

    training.fit(Line(), line_data())
    training.test(Line(), line_data(), verbose=False)
    logger.experiment.finish()

    record = record_of(logger.version)
    assert (record.status, record.experiment) == ("FINISHED", experiment)
    assert record.params == {"lr": 0.1, "hub_token": "***", "fail_in": None}
    assert record.metrics["train/loss_step"].count == EPOCHS * 4
    assert record.metrics["train/loss_epoch"].count == EPOCHS
    assert "test/loss" in record.metrics
    assert any(one.path == "checkpoints/best.ckpt" for one in record.artifacts)


def test_lightning_that_fails_fails_its_run(experiment: str, tmp_path: Path) -> None:
    logger = RunstoneLogger(experiment=experiment)

    with pytest.raises(ValueError, match="told to"):
        trainer(logger, tmp_path, enable_checkpointing=False).fit(Line(fail_in=1), line_data())

    assert record_of(logger.version).status == "FAILED"


def test_lightning_leaves_a_run_that_it_was_given(experiment: str, tmp_path: Path) -> None:
    with runstone.start_run(experiment=experiment) as run:
        with pytest.raises(ValueError, match="told to"):
            trainer(RunstoneLogger(run), tmp_path, enable_checkpointing=False).fit(Line(fail_in=1), line_data())
        run.log({"later": 1})

    assert record_of(run.id).status == "FINISHED"


def bert_trainer(folder: Path, callback: HuggingFaceCallback) -> Trainer:
    config = BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, num_labels=2
    )
    examples = [{"input_ids": [1, 2, index % 50], "labels": index % 2} for index in range(16)]
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        logging_steps=1,
        save_strategy="epoch",
        eval_strategy="epoch",
        report_to="none",
        hub_token="hunter2",
        use_cpu=True,
        disable_tqdm=True,
    )
    return Trainer(
        model=BertForSequenceClassification(config),
        args=arguments,
        train_dataset=examples,
        eval_dataset=examples,
        callbacks=[callback],
    )


def test_transformers_writes_settings_metrics_and_checkpoints(experiment: str, tmp_path: Path) -> None:
    with runstone.start_run(experiment=experiment) as run:
        trainer = bert_trainer(tmp_path, HuggingFaceCallback(log_checkpoints=True))
        trainer.train()

    record = record_of(run.id)
    logged = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    [series] = runstone.series([run.id], ["loss"])
    assert list(series.values) == logged
    assert list(series.steps) == [1, 2, 3, 4]
    assert record.metrics["eval_loss"].count == 2
    assert record.params["args.num_train_epochs"] == 2
    assert record.params["model.hidden_size"] == 8
    assert "hunter2" not in str(record)
    assert {one.path.split("/")[1] for one in record.artifacts if one.path.startswith("checkpoints/")} == {
        "checkpoint-2",
        "checkpoint-4",
    }


def test_keras_writes_settings_and_each_epoch(experiment: str) -> None:
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(learning_rate=0.25), loss="mse", metrics=["mae"])
    x = np.linspace(0, 1, 16)[:, None]

    with runstone.start_run(experiment=experiment) as run:
        done = model.fit(
            x,
            2 * x,
            epochs=EPOCHS,
            batch_size=4,
            validation_split=0.25,
            verbose=0,
            callbacks=[KerasCallback(log_batches=True)],
        )

    record = record_of(run.id)
    for key in ("loss", "mae", "val_loss", "val_mae"):
        [series] = runstone.series([run.id], [key])
        assert list(series.values) == done.history[key]
        assert list(series.steps) == list(range(EPOCHS))
    assert record.metrics["batch/loss"].count == EPOCHS * 3
    assert (record.params["epochs"], record.params["optimizer.learning_rate"]) == (EPOCHS, 0.25)


def test_lightning_ends_with_the_batch_when_the_run_is_asked_to_stop(stopping: runstone.Run, tmp_path: Path) -> None:
    training = trainer(RunstoneLogger(stopping), tmp_path, enable_checkpointing=False)

    training.fit(Line(), line_data())

    assert training.global_step == 1


def test_transformers_ends_with_the_step_when_the_run_is_asked_to_stop(stopping: runstone.Run, tmp_path: Path) -> None:
    training = bert_trainer(tmp_path, HuggingFaceCallback(stopping))

    training.train()

    assert training.state.global_step == 1


def test_keras_ends_with_the_batch_when_the_run_is_asked_to_stop(stopping: runstone.Run) -> None:
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")

    model.fit(np.ones((16, 1)), np.ones((16, 1)), batch_size=4, verbose=0, callbacks=[KerasCallback(stopping)])

    assert int(model.optimizer.iterations) == 1
