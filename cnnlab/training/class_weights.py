"""Weights of the classes in the training loss, from what `class_weights` says."""

from collections.abc import Sequence


def class_weights(
    asked: str | Sequence[float] | None, images: Sequence[int], names: Sequence[str]
) -> list[float] | None:
    """Return a weight for each class; None where all count the same.

    Args:
        asked: "balanced", weights by inverse class frequency, of mean 1 over the examples, so that learning rates keep
            their meaning; or a weight for each class; or None.
        images: how many training examples each class has.
        names: of the classes.

    Raises:
        ValueError: more or fewer weights than classes, or a class without examples to balance.
    """
    if asked is None:
        return None
    if asked == "balanced":
        if 0 in images:
            raise ValueError(f'class_weights=balanced: class "{names[list(images).index(0)]}" has no training image')
        return [sum(images) / (len(images) * count) for count in images]
    if len(asked) != len(names):
        raise ValueError(f"class_weights has {len(asked)} numbers, and there are {len(names)} classes")
    return [float(weight) for weight in asked]
