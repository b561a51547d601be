"""Compute the weights of the classes in the training loss from the config key `class_weights`."""

from collections.abc import Sequence


def class_weights(
    setting: str | Sequence[float] | None, counts: Sequence[int], names: Sequence[str]
) -> list[float] | None:
    """Return a weight for each class; None if all count the same.

    Args:
        setting: "balanced": inverse class frequency, scaled to mean 1 over the examples, so that the learning rate
            keeps its meaning; or a weight for each class; or None.
        counts: training examples of each class.
        names: class names.

    Raises:
        ValueError: more or fewer weights than classes, or a class without examples to balance.
    """
    if setting is None:
        return None
    if setting == "balanced":
        if 0 in counts:
            raise ValueError(f'class_weights=balanced: class "{names[list(counts).index(0)]}" has no training image')
        return [sum(counts) / (len(counts) * count) for count in counts]
    if len(setting) != len(names):
        raise ValueError(f"class_weights has {len(setting)} numbers, and there are {len(names)} classes")
    return [float(weight) for weight in setting]
