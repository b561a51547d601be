"""The one LightningDataModule: a source's tensors, split, resized, on the device, in batches."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from cnnlab.data.augment import augmentation
from cnnlab.data.examples import Examples
from cnnlab.data.load import facts
from cnnlab.data.loader import Batches
from cnnlab.data.shared import held_once
from cnnlab.data.splits import prepared, statistics
from cnnlab.data.stream import Files


class DataModule(LightningDataModule):
    """Training, validation and test batches of a `conf/data/*.yaml`.

    Args:
        config: the data config as a plain mapping.
        augment: the augment config, for training examples only.
        seed: of the order and the augmentation. The validation split has its own, `config["split_seed"]`.

    After `setup`, `train`, `val` and `test` hold Examples, `classes` the names, `mean` and `std` the training
    examples' per channel, bytes on the scale 0 to 1.
    """

    train: Examples | Files
    val: Examples

    def __init__(self, config: Mapping[str, Any], augment: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config, self.seed = dict(config), seed
        self.augment = augmentation(augment or {})
        self.facts = facts(config)
        self._batches_of_fit: Batches | None = None
        self._taken_up: dict[str, int] | None = None  # from a checkpoint, before there are batches

    def setup(self, stage: str | None = None) -> None:
        """Load and split, once."""
        if hasattr(self, "train"):
            return
        splits = held_once(lambda: prepared(self.config))
        self.classes, self.draw = splits.classes, splits.draw
        assert splits.val is not None
        self.train, self.val, self.test = splits.train, splits.val, splits.test
        self.mean, self.std = statistics(self.train)

    def train_dataloader(self) -> Batches:
        """Shuffled and augmented."""
        trainer = self.trainer
        epoch = (lambda: trainer.current_epoch) if trainer else (lambda: 0)
        batches = self._batches(
            self.train, self.config["batch_size"], seed=self.seed, augment=self.augment, draw=self.draw, epoch=epoch
        )
        if self._taken_up is not None:
            batches.load_state_dict(self._taken_up)
        self._batches_of_fit = batches
        return batches

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: how far the pass over the training examples has come."""
        return self._batches_of_fit.state_dict() if self._batches_of_fit else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint; Lightning does it for batches only where they are made after this."""
        self._taken_up = state_dict
        if self._batches_of_fit is not None:
            self._batches_of_fit.load_state_dict(state_dict)

    def val_dataloader(self) -> Batches:
        """In order."""
        return self._batches(self.val, self.config["eval_batch_size"])

    def test_dataloader(self) -> Batches:
        """In order.

        Raises:
            ValueError: the source has no test examples.
        """
        if self.test is None:
            raise ValueError(f"data={self.config['name']} has no test images")
        return self._batches(self.test, self.config["eval_batch_size"])

    def _batches(self, data: Examples | Files, batch_size: int, **options: Any) -> Batches:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        if batch_size < world_size:
            raise ValueError(f"data.batch_size={batch_size} is over all processes, and there are {world_size}")
        on_device = data.to(device) if isinstance(data, Examples) else data
        return Batches(on_device, batch_size, device=device, rank=rank, world_size=world_size, **options)
