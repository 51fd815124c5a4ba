"""Hugging Face Transformers: `Trainer(..., callbacks=[RunstoneCallback()])`."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from runstone.integrations.writing import AnyRun, log_numbers, log_settings, run_or_new


class RunstoneCallback(TrainerCallback):
    """Writes the arguments, the model's configuration and what the trainer logs to the run.

    With `log_checkpoints` every checkpoint is uploaded as it is saved. When somebody asks the run to stop, the training
    ends with the step. In a training of several processes the first one writes, and none stops by itself.
    """

    def __init__(self, run: AnyRun | None = None, *, log_checkpoints: bool = False) -> None:
        self._given = run
        self._run: AnyRun | None = None
        self._log_checkpoints = log_checkpoints

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Log the settings."""
        if not state.is_world_process_zero:
            return
        run = self._opened()
        log_settings(run, {"args": args.to_dict()})
        configuration = getattr(more.get("model"), "config", None)
        if configuration is not None:
            log_settings(run, {"model": configuration.to_dict()})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """End the training when somebody asked for it."""
        if args.world_size == 1 and self._opened().stop_requested:
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Log the numbers at the step of the trainer."""
        if state.is_world_process_zero:
            log_numbers(self._opened(), logs or {}, state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Upload the checkpoint."""
        if self._log_checkpoints and state.is_world_process_zero:
            name = f"checkpoint-{state.global_step}"
            self._opened().log_artifacts(Path(str(args.output_dir), name), f"checkpoints/{name}")

    def _opened(self) -> AnyRun:
        if self._run is None:
            self._run = run_or_new(self._given)
        return self._run
