"""What libraries do not promise and cnnlab uses all the same is where it was; a new release fails here by name."""

import inspect

import optuna
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from omegaconf import OmegaConf

from cnnlab.training import lightning_internals as internals


@pytest.fixture
def trainer():
    return Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")


@pytest.mark.parametrize("hook", internals.HOOKS_OF_A_STEP)
def test_callbacks_have_the_hook(hook):
    assert callable(getattr(Callback, hook))


def test_lightning_skips_hooks_that_cannot_be_called():
    from lightning.pytorch.trainer import call

    assert "if callable(fn)" in inspect.getsource(call._call_callback_hooks)


def test_the_running_hook_is_noted_in_the_attribute():
    assert internals.RUNNING_HOOK in vars(LightningModule())


def test_sigterm_is_broadcast_by_the_epoch_loop(trainer):
    assert callable(trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor)


def test_checkpoints_are_dumped_by_the_connector(trainer):
    assert callable(trainer._checkpoint_connector.dump_checkpoint)


def test_the_fit_loop_has_state(trainer):
    state = trainer.fit_loop.state_dict()
    trainer.fit_loop.load_state_dict(state)
    assert "epoch_progress" in state


@pytest.mark.parametrize(
    "field",
    ["current_score", "best_model_score", "kth_value", "best_model_path", "kth_best_model_path", "best_k_models"],
)
def test_model_checkpoint_has_the_field(field):
    assert field in vars(ModelCheckpoint())


def test_weight_averaging_has_its_members():
    assert "_latest_update_step" in vars(WeightAveraging())
    assert callable(WeightAveraging._copy_average_to_current)
    assert "avg_fn" in EMAWeightAveraging()._kwargs


def test_lightning_warns_of_evaluation_mode_in_these_words():
    from lightning.pytorch.loops import fit_loop

    assert "module(s) in eval mode" in inspect.getsource(fit_loop)


def test_optunas_frozen_trials_have_their_id():
    study = optuna.create_study()
    study.ask()
    assert isinstance(study.trials[0]._trial_id, int)


@pytest.mark.parametrize(
    "name", ["_get_node", "_get_parent", "_get_full_key", "_is_none", "_is_missing", "_is_interpolation", "_value"]
)
def test_omegaconfs_nodes_have_the_method(name):
    assert callable(getattr(OmegaConf.create({"a": 1}), name))
