"""A trial of a search ends early where it is hopeless."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from cnnlab.callbacks.history import epoch_metrics


class Pruning(Callback):
    """Reports validation accuracy to the search after each epoch, and stops the fit where the search prunes it.

    Args:
        directory: the search's.
        number: the trial's.
    """

    def __init__(self, directory: Path, number: int) -> None:
        from optuna.trial import Trial

        from cnnlab.search import load

        study = load(directory, seed=0)
        self.trial = Trial(study, study.trials[number]._trial_id)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, where the epoch was validated, which by now it is."""
        accuracy = epoch_metrics(trainer).get("val/acc")
        if accuracy is None:
            return
        self.trial.report(accuracy, trainer.current_epoch)
        if trainer.current_epoch + 1 < (trainer.max_epochs or 0) and self.trial.should_prune():
            self.trial.set_user_attr("pruned", True)
            trainer.should_stop = True
