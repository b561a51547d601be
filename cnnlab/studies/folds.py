"""Cross-validation in a study: how many folds, and the overrides that hold one out."""

from collections.abc import Sequence

from omegaconf import DictConfig


def folds_of(config: DictConfig, varied: Sequence[str], split_varies: bool) -> int | None:
    """Return how many folds a study has, if it is a cross-validation.

    Raises:
        ValueError: they are no number, or something else says which examples are held out.
    """
    folds = config.study.folds
    if folds is None:
        return None
    if not isinstance(folds, int) or isinstance(folds, bool) or folds < 2:
        raise ValueError(f"study.folds must be a whole number of at least 2, or null, not {folds!r}")
    if split_varies:
        raise ValueError(f"study.folds={folds} and study.vary=[seed,split]: give one of the two")
    for key in ("folds", "fold", "val_size"):
        if f"data.{key}" in varied or (key != "val_size" and config.data.get(key) is not None):
            raise ValueError(f"study.folds={folds} and data.{key}: the study says which images each run holds out")
    return folds


def hold_out(fold: int | None, folds: int | None) -> list[str]:
    """Return the overrides of a run that holds out a fold; the config of data of a user's own may lack the keys."""
    return [] if folds is None else [f"++data.folds={folds}", f"++data.fold={fold}"]
