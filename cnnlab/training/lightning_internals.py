"""Use Lightning's private names, all in this file; tests/test_internals.py fails by name if a release changes one."""

import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor, tensor, where

# the attribute in which LightningModule stores the name of the running hook, forty times a step
RUNNING_HOOK = "_current_fx_name"
HOOKS_OF_A_STEP = ("on_train_batch_start", "on_before_backward", "on_after_backward", "on_before_optimizer_step",
                   "on_before_zero_grad", "on_train_batch_end")  # fmt: skip


def remove_empty_hooks(callback: Callback) -> Callback:
    """Remove the per-step hooks that a callback leaves empty, so that Lightning does not call them at every step."""
    for hook in HOOKS_OF_A_STEP:
        if getattr(type(callback), hook) is getattr(Callback, hook):
            setattr(callback, hook, None)  # Lightning skips what is not callable
    return callback


def stop_broadcasting_sigterm(trainer: Trainer) -> None:
    """Stop processes from telling each other at every step whether one of them has received SIGTERM."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def dump_checkpoint(trainer: Trainer) -> dict[str, Any]:
    """Return the content of a checkpoint of the trainer's present state."""
    return trainer._checkpoint_connector.dump_checkpoint()


def copy_progress(source: Trainer, target: Trainer) -> None:
    """Copy the epoch and step counts of one trainer to another, which then logs after the first one's last step."""
    target.fit_loop.load_state_dict(source.fit_loop.state_dict())


def set_best(callback: ModelCheckpoint, path: Path, score: float) -> None:
    """Make a checkpoint file that the caller writes the best, and only, one of a ModelCheckpoint."""
    callback.current_score = callback.best_model_score = callback.kth_value = tensor(score)
    callback.best_model_path = callback.kth_best_model_path = str(path)
    callback.best_k_models = {str(path): callback.current_score}


def last_averaged_step(callback: WeightAveraging) -> int:
    """Return the step after which a WeightAveraging last updated its average."""
    return callback._latest_update_step


def continue_from_average(callback: WeightAveraging, module: LightningModule) -> None:
    """Copy the average of a WeightAveraging into the trained weights."""
    callback._copy_average_to_current(module)


def keep_equal_values(callback: Callback) -> None:
    """Let a WeightAveraging skip values that equal their average, as frozen ones do: averaging would round them."""
    if not isinstance(callback, WeightAveraging) or (average := callback._kwargs.get("avg_fn")) is None:
        return

    def average_others(averaged: Tensor, current: Tensor, count: Tensor) -> Tensor:
        return where(averaged == current, averaged, average(averaged, current, count))

    callback._kwargs["avg_fn"] = average_others


def expect_evaluation_mode() -> None:
    """Silence Lightning's warning about modules in evaluation mode at the start of training, as frozen ones are."""
    warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
