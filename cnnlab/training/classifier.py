"""Define the LightningModule: a network with its loss, metrics and logging."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import CatMetric

from cnnlab.data.augment import views
from cnnlab.data.forms import Facts
from cnnlab.data.loader import seed_of
from cnnlab.models.losses import LOSSES, training_loss
from cnnlab.models.network import Network
from cnnlab.runs.checkpoints import refuse_other_network
from cnnlab.training.answers import answer_rows
from cnnlab.training.divergence import DeferredBool, TrainStep, infinite_weight, refuse_infinite, repeat_infinite
from cnnlab.training.epoch_loss import EpochLoss
from cnnlab.training.lightning_internals import RUNNING_HOOK
from cnnlab.training.optim import optimizer_of, schedule
from cnnlab.training.stages import StageMetrics

Batch = tuple[Tensor, Tensor]

CHANCE = 1  # seeds a random stream apart from that of augmentation


class Classifier(LightningModule):
    """Train a Network on (inputs, labels) batches; images (N, C, H, W) are bytes, sentences (N, L) word ids.

    Args:
        model: content of a `conf/model/*.yaml`, as a plain mapping.
        input_shape: of one example, (channels, height, width) for images.
        classes: names, in label order.
        mean, std: of the training examples, per channel, bytes scaled to 0 to 1; empty for word ids.
        seed: of the initial weights.
        label_smoothing: share of the target spread over all classes, in training only (Szegedy et al. 2016).
        class_weights: weights of the classes in the training loss, see `training_loss`.
        vocabulary: the words by their ids, for sentences.
        metrics: computed on validation and test examples, beside those that every run has.
        test_flip: average the logits over an image and its mirror image, in the test and in use.
        test_shift: likewise over an image and two copies shifted by this many pixels, see `views`.
        optimizer: makes the optimizer from parameter groups; without it the classifier cannot be trained.
        scheduler: makes the schedule from the optimizer.
        optimizer_groups: options of some parameters by name, see `optimizer_of`.
        config_hash: of its run; whatever loads the checkpoint compares it.

    All but optimizer, scheduler and optimizer_groups are saved in checkpoints, so that
    `Classifier.load_from_checkpoint(path)` needs nothing else.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        input_shape: Sequence[int],
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        seed: int = 0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        metrics: Sequence[str] = (),
        vocabulary: Sequence[str] = (),
        test_flip: bool = False,
        test_shift: int = 0,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        optimizer_groups: Mapping[str, Mapping[str, float]] | None = None,
        config_hash: str = "",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["optimizer", "scheduler", "optimizer_groups"], logger=False)
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.optimizer_groups = optimizer_groups
        self.classes = list(classes)
        self.views = partial(views, flip=test_flip, shift=test_shift)
        self.loss_name = model.get("loss") or "cross_entropy"
        self.loss = training_loss(self.loss_name, label_smoothing, class_weights)
        self.facts = Facts(tuple(input_shape), len(classes), tuple(vocabulary))
        self.network = Network(model, *self.facts, mean=mean, std=std, seed=seed).channels_last()
        # the network's compiled forward, for steps only: hooks are set on the network itself, uncompiled
        self.compiled: Callable[[Tensor], Tensor] | None = None
        self.stages = {s: StageMetrics(s, len(classes), LOSSES[self.loss_name], metrics) for s in ("val", "test")}
        self.metrics = nn.ModuleDict(self.stages)
        self.answers = CatMetric()  # predictions on test examples, of all processes, as rows of `answer_rows`
        self.live: dict[str, float] = {}  # metrics of the last logged step, for the progress bar
        self.epoch_loss = EpochLoss()
        self._deferred: tuple[DeferredBool, TrainStep] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Skip nn.Module's bookkeeping for the name of the running hook, which Lightning sets forty times a step."""
        if name == RUNNING_HOOK:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def log_every(self) -> int:
        """Return the number of steps between two logged ones."""
        steps: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return steps

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes), averaged over views; images (N, C, H, W) are bytes or floats from 0 to 1."""
        seen = self.views(images)
        logits: Tensor = self.logits_of(torch.cat(seen)).unflatten(0, (len(seen), -1))
        return logits.mean(0)

    def logits_of(self, inputs: Tensor) -> Tensor:
        """Run the network, compiled if asked for, on inputs as they are, without views."""
        logits: Tensor = (self.compiled or self.network)(inputs)
        return logits

    # --- training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean loss of this process's share of the batch, weighted so that DDP averages to the batch's."""
        inputs, labels = batch
        logits = self.logits_of(inputs)
        loss: Tensor = self.loss(logits.float(), labels)
        self._step = TrainStep(self.current_epoch, self.global_step, inputs, labels, loss.detach())
        self.epoch_loss.add([loss.detach()], [len(labels)])
        if self.global_step % self.log_every == 0:
            self.record_step(logits, labels, loss)
        if self.trainer.world_size > 1:
            # DDP averages over processes, whose shares of a batch may differ by one example
            whole = self.trainer.train_dataloader.global_size(batch_idx)  # type: ignore[union-attr]
            loss = loss * (len(labels) * self.trainer.world_size / whole)
            # times 1; a loss that is not finite gives NaN, which reaches every process's gradient, so that all stop
            loss = loss * (1 + (loss.detach() - loss.detach()))
        return loss

    @torch.no_grad()
    def record_step(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Keep the step's loss and accuracy, to be logged and shown by the progress bar."""
        accuracy = (logits.argmax(1) == labels).float().mean()
        self.live = {"train/loss_step": loss.item(), "train/acc_step": accuracy.item()}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip to the norm `gradient_clip_val` and log the norm, right before the optimizer's step.

        Raises:
            FloatingPointError: the loss or a gradient is not finite, in any process.
        """
        step = self.trainer.global_step
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        # with 16-mixed a fused optimizer gets scaled gradients; the scaler itself skips steps that are not finite
        scale = scaler.get_scale() if scaler and getattr(optimizer, "_step_supports_amp_scaling", False) else 1.0
        parameters = [p for p in self._trained if p.grad is not None]
        norm = torch.stack(torch._foreach_norm([p.grad for p in parameters])).norm()  # type: ignore[misc]
        if gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val * scale, norm)
        norm = norm / scale
        if self.defers(optimizer):
            self.check_previous_step()
            finite = torch.isfinite(norm + self._step.loss)
            optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # 1 makes the step do nothing
            self._deferred = (DeferredBool(finite), self._step)
        elif scaler is None:
            refuse_infinite(self.network, self._step, norm, self.loss, clips=bool(gradient_clip_val))
        if step % self.log_every == 0:
            self.live |= {"lr": optimizer.param_groups[0]["lr"], "grad_norm": norm.item()}
            for logger in self.loggers:
                logger.log_metrics(self.live, step)

    def defers(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether the norm is checked a step later: on CUDA, if the optimizer itself can skip a step."""
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        return self.device.type == "cuda" and not scaled and getattr(optimizer, "_step_supports_amp_scaling", False)

    def check_previous_step(self) -> None:
        """Stop if the previous step's loss or gradient was not finite; that step has left the weights unchanged.

        Raises:
            FloatingPointError: names epoch, step and layer.
        """
        deferred, self._deferred = self._deferred, None
        if deferred is None or deferred[0]:
            return
        repeat_infinite(self.network, deferred[1], self.loss)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Drop the gradients, without the profiling hooks of Optimizer.zero_grad."""
        for parameter in self._trained:
            parameter.grad = None

    def on_train_start(self) -> None:
        """List the parameters once: it takes as long as computing their norm."""
        self._trained = list(self.parameters())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the step's random numbers by (seed, epoch, step, process), so that a resumed run draws the same."""
        seed = seed_of(self.hparams["seed"], self.current_epoch, batch_idx, self.global_rank, CHANCE)
        # not torch.manual_seed, which takes a millisecond if there is an unused GPU
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the losses of the epoch's steps so far, of every process.

        Raises:
            FloatingPointError: a weight is not finite; the earlier checkpoint stays.
        """
        self.check_previous_step()
        if layer := infinite_weight(self.network):
            raise FloatingPointError(f"a weight of {layer} is not finite at step {checkpoint['global_step']}")
        so_far = self.epoch_loss.saved()
        if self._trainer is not None and self.trainer.world_size > 1:
            so_far = self.trainer.strategy.all_gather(so_far.to(self.device)).cpu()
        checkpoint["epoch_so_far"] = so_far if so_far.ndim == 3 else so_far[None]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the losses of the epoch so far, if there are as many processes as when they were saved.

        Raises:
            ValueError: the checkpoint is of another network, or has another vocabulary.
        """
        refuse_other_network(self.state_dict(), checkpoint["state_dict"])
        if tuple(checkpoint.get("hyper_parameters", {}).get("vocabulary", ())) != self.facts.vocabulary:
            raise ValueError("the checkpoint has another vocabulary than these training sentences; were they changed?")
        so_far = checkpoint.get("epoch_so_far", torch.zeros(0))
        if self._trainer is not None and len(so_far) == self.trainer.world_size:
            self.epoch_loss.restore(so_far[self.trainer.global_rank], self.device)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """After the epoch's last batch, log the mean loss over the examples of all processes."""
        if not self.trainer.is_last_batch:
            return
        self.check_previous_step()
        total = self.trainer.strategy.reduce(self.epoch_loss.total(), reduce_op="sum")
        self.log("train/loss", total[0] / total[1], on_step=False, on_epoch=True, batch_size=1)

    # --- validation and test: each example of all processes counts once, whatever the batch size

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the batch to the metrics."""
        self.stages["val"].count(self.logits_of(batch[0]), batch[1])

    def on_validation_epoch_end(self) -> None:
        """Log the metrics over all examples of all processes."""
        self.log_dict(self.stages["val"].counted(self.global_step))

    def on_test_start(self) -> None:
        """Drop the predictions of an earlier test."""
        self.answers.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the batch to the metrics, and keep the predictions."""
        inputs, labels = batch
        logits = self(inputs)
        self.stages["test"].count(logits, labels)
        share = self.trainer.test_dataloaders.share(batch_idx, None)  # type: ignore[union-attr]
        self.answers.update(answer_rows(logits, labels, share.start))

    def on_test_epoch_end(self) -> None:
        """Log the metrics over all examples of all processes."""
        self.log_dict(self.stages["test"].counted(self.global_step))

    # --- optimizer

    def configure_optimizers(self) -> Any:
        """Make the optimizer and its schedule."""
        if self.make_optimizer is None:
            raise ValueError("this classifier was loaded for use; give it an optimizer to train it")
        optimizer = optimizer_of(self.make_optimizer, self.network, self.optimizer_groups)
        if self.make_scheduler is None:
            return optimizer
        epochs = self.trainer.max_epochs or 1
        return {
            "optimizer": optimizer,
            "lr_scheduler": schedule(
                self.make_scheduler, optimizer, epochs, self.trainer.estimated_stepping_batches / epochs
            ),
        }

    # --- use

    @torch.inference_mode()
    def logits(self, images: Tensor, batch_size: int = 500) -> Tensor:
        """Compute logits (N, classes) on the CPU, in evaluation mode, of any number of bytes or floats from 0 to 1."""
        self.eval()
        parts = [self(part.to(self.device)).float().cpu() for part in images.split(batch_size)]
        return torch.cat(parts)

    @torch.inference_mode()
    def walk(self, images: Tensor, batch_size: int = 500) -> None:
        """Send each input once through the network in evaluation mode, for hooks set on its layers."""
        self.eval()
        for part in images.split(batch_size):
            self.network(part.to(self.device))
