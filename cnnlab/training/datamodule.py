"""Define the LightningDataModule: load, split and resize a source's tensors, and batch them on the device."""

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
    """Provide training, validation and test batches of a `conf/data/*.yaml`.

    Args:
        config: the data config as a plain mapping.
        augment: the augment config, for training examples only.
        seed: of order and augmentation. The validation split has its own, `config["split_seed"]`.

    After `setup`, `train`, `val` and `test` hold Examples, `classes` the names, `mean` and `std` the training
    examples' mean and standard deviation per channel, bytes scaled to 0 to 1.
    """

    train: Examples | Files
    val: Examples

    def __init__(self, config: Mapping[str, Any], augment: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config, self.seed = dict(config), seed
        self.augment = augmentation(augment or {})
        self.facts = facts(config)
        self._batches_of_fit: Batches | None = None
        self._restored: dict[str, int] | None = None  # state from a checkpoint, for batches not yet made

    def setup(self, stage: str | None = None) -> None:
        """Load and split the data, once for all stages."""
        if hasattr(self, "train"):
            return
        splits = held_once(lambda: prepared(self.config))
        self.classes, self.draw = splits.classes, splits.draw
        assert splits.val is not None
        self.train, self.val, self.test = splits.train, splits.val, splits.test
        self.mean, self.std = statistics(self.train)

    def train_dataloader(self) -> Batches:
        """Return the training batches, shuffled and augmented."""
        trainer = self.trainer
        epoch = (lambda: trainer.current_epoch) if trainer else (lambda: 0)
        batches = self._batches(
            self.train, self.config["batch_size"], seed=self.seed, augment=self.augment, draw=self.draw, epoch=epoch
        )
        if self._restored is not None:
            batches.load_state_dict(self._restored)
        self._batches_of_fit = batches
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Return the progress of the pass over the training examples, for a checkpoint."""
        return self._batches_of_fit.state_dict() if self._batches_of_fit else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the progress from a checkpoint, into batches made before or after this call."""
        self._restored = state_dict
        if self._batches_of_fit is not None:
            self._batches_of_fit.load_state_dict(state_dict)

    def val_dataloader(self) -> Batches:
        """Return the validation batches, in data order."""
        return self._batches(self.val, self.config["eval_batch_size"])

    def test_dataloader(self) -> Batches:
        """Return the test batches, in data order.

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
