"""Weights of the classes in the training loss, from what `class_weights` says."""

from collections.abc import Sequence

from cnnlab.models.losses import balanced_weights


def class_weights(
    asked: str | Sequence[float] | None, images: Sequence[int], names: Sequence[str]
) -> list[float] | None:
    """Return a weight for each class; None where all count the same.

    Args:
        asked: "balanced", a weight for each class, or None.
        images: how many training images each class has.
        names: of the classes.

    Raises:
        ValueError: more or fewer weights than classes, or a class without images to balance.
    """
    if asked is None:
        return None
    if asked == "balanced":
        if 0 in images:
            raise ValueError(f'class_weights=balanced: class "{names[list(images).index(0)]}" has no training image')
        return balanced_weights(images)
    if len(asked) != len(names):
        raise ValueError(f"class_weights has {len(asked)} numbers, and there are {len(names)} classes")
    return [float(weight) for weight in asked]
