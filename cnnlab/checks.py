"""What a train config is refused for, before anything is made: late or obscure failures, said early and in one line."""

from collections.abc import Callable
from typing import Any

from cnnlab import runs
from cnnlab.config import target

Config = dict[str, Any]

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")


def check(config: Config) -> None:
    """Refuse, before anything is made, what cannot work: the network on this data, classes, devices, numbers.

    Raises:
        ValueError: names the thing and the remedy.
    """
    import torch
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from cnnlab.data.augment import augmentation
    from cnnlab.data.sources import facts, load
    from cnnlab.models.losses import training_loss
    from cnnlab.models.network import Network
    from cnnlab.optim import schedule

    trainer, data = config["trainer"], config["data"]
    wanted = {"data.batch_size": 1, "data.eval_batch_size": 1, "trainer.max_epochs": 1, "seed": 0}
    for key, least in wanted.items():
        value = runs.flatten(config)[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{key} must be a whole number of at least {least}, not {value!r}")
    if config["precision"] not in PRECISIONS:
        raise ValueError(f"precision={config['precision']}: known are {', '.join(PRECISIONS)}")
    present: dict[str, Callable[[], bool]] = {"gpu": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if trainer["accelerator"] in present and not present[trainer["accelerator"]]():
        name = trainer["accelerator"].upper()
        raise ValueError(
            f"trainer={trainer['accelerator']}: this machine has no {name} that torch can use; take trainer=cpu or auto"
        )
    augmentation(config["augment"] or {})
    shape, classes = facts(data)
    with torch.device("meta"):
        Network(config["model"], shape, classes)
    training_loss(config["model"].get("loss") or "cross_entropy", config["label_smoothing"])
    optimizer = target(config["optimizer"], Optimizer, config["trusted_modules"])
    try:
        stepped = optimizer([torch.nn.Parameter(torch.zeros(2, 2))])  # torch checks the numbers
    except (ValueError, TypeError) as error:
        raise ValueError(f"optimizer: {error}") from error
    schedule(target(config["scheduler"], LRScheduler, config["trusted_modules"]), stepped, trainer["max_epochs"], 1)
    if config["init_from"] is not None:
        runs.Run.load(config["init_from"])
    load(data)  # stays in memory for the fit


def resolve_precision(precision: str, accelerator: str) -> str:
    """What "auto" stands for: bf16-mixed where the hardware computes in bfloat16, else 32-true."""
    import torch

    if precision != "auto":
        return precision
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = accelerator in ("cpu", "auto") and torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if native else "32-true"
