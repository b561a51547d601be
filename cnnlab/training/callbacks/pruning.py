"""Stop unpromising trials of a search early."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

from cnnlab.runs.plan import TRIALS
from cnnlab.training.callbacks.history import epoch_metrics

if TYPE_CHECKING:
    from optuna import Study


def load_search(directory: Path, seed: int) -> "Study":
    """Load or start the search of a directory: tree-structured Parzen estimators (Bergstra et al. 2011).

    A trial whose accuracy is below the median of the others' at the same epoch is pruned, once five have finished.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(directory / TRIALS))),
        study_name="search",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        load_if_exists=True,
    )
    # seeded by the number of trials too, or a resumed search would propose the same ones again
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), constant_liar=True)
    return study


class Pruning(Callback):
    """Report a trial's validation accuracy to its search after each epoch, and stop the fit if it is pruned."""

    def __init__(self, directory: Path, number: int) -> None:
        from optuna.trial import Trial

        study = load_search(directory, seed=0)
        self.trial = Trial(study, study.trials[number]._trial_id)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the accuracy, if this epoch had a validation, which is over by now."""
        accuracy = epoch_metrics(trainer).get("val/acc")
        if accuracy is None:
            return
        self.trial.report(accuracy, trainer.current_epoch)
        if trainer.current_epoch + 1 < (trainer.max_epochs or 0) and self.trial.should_prune():
            self.trial.set_user_attr("pruned", True)
            trainer.should_stop = True
