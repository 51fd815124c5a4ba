"""Keras: `model.fit(..., callbacks=[RunstoneCallback()])`."""

from collections.abc import Mapping
from typing import Any

import keras

from runstone.integrations.writing import AnyRun, log_numbers, log_settings, run_or_new


class RunstoneCallback(keras.callbacks.Callback):
    """Writes the optimizer's settings and the metrics of each epoch to the run, at the number of the epoch.

    With `log_batches` also those of each batch, as batch/loss and so on, at the number of batches so far.
    """

    def __init__(self, run: AnyRun | None = None, *, log_batches: bool = False) -> None:
        super().__init__()
        self._given = run
        self._run: AnyRun | None = None
        self._log_batches = log_batches
        self._batches = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log the settings."""
        settings = {name: self.params[name] for name in ("epochs", "steps") if name in self.params}
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            settings["optimizer"] = optimizer.get_config()
        log_settings(self._opened(), settings)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the metrics of training and validation."""
        log_numbers(self._opened(), logs or {}, epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the metrics of the batch, when that is wanted; end the training when somebody asked for it."""
        if self._log_batches:
            log_numbers(self._opened(), {f"batch/{key}": value for key, value in (logs or {}).items()}, self._batches)
            self._batches += 1
        if self._opened().stop_requested:
            self.model.stop_training = True

    def _opened(self) -> AnyRun:
        if self._run is None:
            self._run = run_or_new(self._given)
        return self._run
