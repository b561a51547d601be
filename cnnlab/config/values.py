"""Check those values of a train config that need no other library: numbers, flags, choices."""

import os
from collections.abc import Mapping
from math import inf
from shutil import which
from typing import Any

from cnnlab.config.identity import Config, flatten, value_at

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")
# type, minimum and maximum of each number; a key that ends in "?" may be null or absent
NUMBERS: dict[str, tuple[type, float, float]] = {
    "seed": (int, 0, 2**32 - 1),
    "label_smoothing": (float, 0, 1),
    "test_shift": (int, 0, inf),
    "checkpoint_every?": (int, 1, inf),
    "study.pack": (int, 1, inf),
    "study.margin?": (float, 0, 100),
    "study.folds?": (int, 2, inf),
    "data.batch_size": (int, 1, inf),
    "data.eval_batch_size": (int, 1, inf),
    "data.stream?": (int, 1, inf),
    "data.split_seed": (int, 0, 2**63 - 1),
    "data.folds?": (int, 2, inf),
    "data.fold?": (int, 0, inf),
    "trainer.max_epochs": (int, 1, inf),
    "trainer.log_every_n_steps": (int, 1, inf),
    "trainer.accumulate_grad_batches": (int, 1, inf),
    "trainer.check_val_every_n_epoch": (int, 1, inf),
    "trainer.gradient_clip_val?": (float, 0, inf),
}
FLAGS = (
    "test_flip",
    "deterministic",
    "data.permute_pixels",
    "model.strict_sizes?",
    "study.leave_out_blocks?",
    "study.plan_only",
    "study.skip_invalid",
)
LARGEST = 3e38  # bound of 32-bit floats
COMPILE_MODES = ("reduce-overhead", "max-autotune")  # of torch.compile; the first runs CUDA graphs


def check_values(config: Config) -> None:
    """Refuse numbers out of range, flags that are not booleans, and unknown choices.

    Raises:
        ValueError: names the key and its valid values.
    """
    flat = flatten(config)
    for entry, (kind, least, most) in NUMBERS.items():
        key = entry.rstrip("?")
        value = value_at(config, key)
        if value is None and key != entry:
            continue
        fits = isinstance(value, (int, kind)) and not isinstance(value, bool) and least <= value <= most  # type: ignore[operator]
        if not fits:
            wanted = "a whole number" if kind is int else "a number"
            limits = f"of at least {least}" if most == inf else f"from {least} to {most:,}"
            raise ValueError(f"{key} must be {wanted} {limits}, not {value!r}")
    for entry in FLAGS:
        key = entry.rstrip("?")
        value = value_at(config, key)
        if not isinstance(value, bool) and (value is not None or key == entry):
            raise ValueError(f"{key} is true or false, not {value!r}")
    for key, value in flat.items():
        if isinstance(value, float) and not abs(value) < LARGEST:  # so that NaN is refused too
            raise ValueError(f"{key} is {value}, which is no number to compute with")
    for group in ("data", "model", "optimizer", "scheduler", "trainer"):
        if not isinstance(config.get(group), Mapping):
            raise ValueError(f"{group}={config.get(group)}: a run needs one; --help lists the choices")
    for key in ("data_dir", "output_dir"):
        if not isinstance(config[key], str):
            raise ValueError(f"{key} is the path of a folder, not {config[key]!r}")
    metrics = config.get("metrics", [])
    if not isinstance(metrics, list) or not all(isinstance(name, str) for name in metrics):
        raise ValueError(f"metrics is a list of names, such as [f1,balanced_accuracy], not {metrics!r}")
    if not _are_weights(weights := config.get("class_weights")):
        wanted = "balanced, null, or a list of one number of at least 0 for each class"
        raise ValueError(f"class_weights is {wanted}, not {weights!r}")
    if config["precision"] not in PRECISIONS:
        raise ValueError(f"precision={config['precision']}: known are {', '.join(PRECISIONS)}")
    if not isinstance(config["compile"], bool) and config["compile"] not in COMPILE_MODES:
        raise ValueError(f"compile is true, false, {' or '.join(COMPILE_MODES)}, not {config['compile']!r}")
    if config["compile"] and not any(map(which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))):
        raise ValueError("compile: it needs a C++ compiler, such as g++, and there is none; take compile=false")


def _are_weights(value: Any) -> bool:
    """Tell whether a value of `class_weights` is of the right type; the number of classes is checked later."""
    if not isinstance(value, list):
        return value in (None, "balanced")
    numbers = [w for w in value if isinstance(w, (int, float)) and not isinstance(w, bool) and 0 <= w < LARGEST]
    return len(numbers) == len(value) and any(numbers)
