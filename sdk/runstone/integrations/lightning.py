"""PyTorch Lightning: `Trainer(logger=RunstoneLogger(experiment="digits"))`."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import runstone
from runstone.integrations.writing import AnyRun, log_numbers, log_settings
from runstone.live import status_after

# Either package has classes of its own; the logger must be of the one whose Trainer is used.
if TYPE_CHECKING or "pytorch_lightning" not in sys.modules:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities import rank_zero_only
else:
    from pytorch_lightning import Callback, LightningModule, Trainer
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities import rank_zero_only


class _Stopping(Callback):
    """Ends the training when somebody asked for it."""

    def __init__(self, logger: "RunstoneLogger") -> None:
        self._logger = logger

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """The trainer looks at its flag after each batch."""
        if self._logger.experiment.stop_requested:
            trainer.should_stop = True


class RunstoneLogger(Logger):
    """Writes what Lightning logs to `run`, or to a run that it starts with `start`, such as experiment="digits".

    A run that it started ends with the program, or when the training fails: as FAILED, or KILLED after an interrupt.
    With `log_checkpoints` the best checkpoints are uploaded when the training ends. When somebody asks the run to stop,
    the training ends with the batch. In a training of several processes the first one writes, and none stops by itself.
    """

    def __init__(self, run: AnyRun | None = None, *, log_checkpoints: bool = False, **start: Any) -> None:
        super().__init__()
        self._run = run
        self._start = None if run is not None else start
        self._log_checkpoints = log_checkpoints
        self._checkpoints: Any = None

    @property
    @rank_zero_experiment
    def experiment(self) -> AnyRun:
        """The run."""
        if self._run is None:
            self._run = runstone.start_run(**(self._start or {}))
        return self._run

    @property
    def name(self) -> str:
        """The name of the run, for the folders that Lightning makes."""
        return str(self.experiment.name)

    @property
    def version(self) -> str:
        """The id of the run, for the folders that Lightning makes."""
        return str(self.experiment.id)

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """As params, secrets masked."""
        log_settings(self.experiment, vars(params) if isinstance(params, Namespace) else params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Points at the step of the trainer."""
        log_numbers(self.experiment, metrics, step)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Remember whom to ask for the best ones."""
        self._checkpoints = checkpoint_callback

    def log_graph(self, model: LightningModule, *_: Any, **__: Any) -> None:
        """Nothing; but here the logger meets the trainer, before the first batch."""
        try:
            trainer = model.trainer
        except RuntimeError:  # it is called by hand, before there is one
            return
        if trainer.world_size == 1 and not any(isinstance(one, _Stopping) for one in trainer.callbacks):
            trainer.callbacks.append(_Stopping(self))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload checkpoints; end the run when the training failed. After a success more may come, such as a test."""
        if self._log_checkpoints and self._checkpoints is not None:
            self._upload_checkpoints()
        if status != "success" and self._start is not None and isinstance(self._run, runstone.Run):
            ended = status_after(sys.exc_info()[1])
            self._run.finish("FAILED" if ended == "FINISHED" else ended)

    def _upload_checkpoints(self) -> None:
        checkpoints, self._checkpoints = self._checkpoints, None
        paths = {checkpoints.best_model_path, checkpoints.last_model_path, *checkpoints.best_k_models} - {""}
        for path in sorted(map(Path, paths)):
            if path.is_dir():
                self.experiment.log_artifacts(path, f"checkpoints/{path.name}")
            elif path.is_file():
                self.experiment.log_artifact(path, f"checkpoints/{path.name}")
