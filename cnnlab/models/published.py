"""torchvision's networks and published weights: which there are, what images they expect, and our names for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cnnlab.models.merges import show
from cnnlab.models.network import Network
from cnnlab.models.table import class_layer
from cnnlab.registry import hint

# networks whose name is another in torchvision; None: what torchvision calls so is another network
ARCHITECTURES = {"alexnet_torchvision": "alexnet", "alexnet": None, "squeezenet": "squeezenet1_1"}
TRANSFORMED = ("googlenet", "inception_v3")  # their published weights expect images from -1 to 1, see `images_for`
COUNTER = "num_batches_tracked"  # of a batch norm; older files lack it
IMAGENET = 1000  # classes


@dataclass(frozen=True)
class Expected:
    """The images that weights were trained on: short side scaled to `resize`, the middle `crop` pixels, normalised."""

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


def architecture(model: Mapping[str, Any]) -> str:
    """Return torchvision's name for a network of ours.

    Raises:
        ValueError: torchvision has no such network.
    """
    from torchvision import models

    name = str(model["name"])
    found = model.get("arch") or ARCHITECTURES.get(name, name)  # the former where it is one closed layer
    if name.startswith("vgg") and model.get("norm") == "batch":
        found = f"{name}_bn"
    if found is None or found not in models.list_models(module=models):
        ours = next((key for key, value in ARCHITECTURES.items() if value == name), None)
        remedy = f"; the network that torchvision calls so is model={ours}" if ours else ""
        raise ValueError(f"torchvision has no weights for model={name}{remedy}")
    return found


def published(model: Mapping[str, Any], name: str = "") -> Any:
    """Return an entry of torchvision's table of published weights.

    Its `name` is such as "IMAGENET1K_V2"; torchvision's default if empty.

    Raises:
        ValueError: there is no such network, or no such entry.
    """
    from torchvision import models

    known = models.get_model_weights(architecture(model))
    if not name or name == "DEFAULT":
        return known.DEFAULT
    if name not in known.__members__:
        raise ValueError(f"torchvision has no weights {name} for model={model['name']}{hint(name, known.__members__)}")
    return known[name]


def recognise(model: Mapping[str, Any], sha256: str) -> Any:
    """Return the entry of the published weights that a file holds, by the digits in its published name, or None."""
    from torchvision import models

    try:
        known = models.get_model_weights(architecture(model))
    except ValueError:
        return None
    return next((w for w in known if sha256.startswith(file_name(w).rpartition("-")[2].partition(".")[0])), None)


def file_name(entry: Any) -> str:
    """The name under which published weights are downloaded."""
    return str(entry.url).rpartition("/")[2]


def images_for(entry: Any) -> Expected:
    """What images published weights expect; None stands for weights that are not known: ImageNet's usual images.

    Raises:
        ValueError: they expect images scaled in a way that cnnlab does not.
    """
    if entry is None:
        return Expected()
    made = entry.transforms()
    if made.interpolation.value != "bilinear":
        raise ValueError(f"{file_name(entry)} expects images scaled by {made.interpolation.value} interpolation")
    mean, std = tuple(made.mean), tuple(made.std)
    if file_name(entry).startswith(TRANSFORMED):
        # torchvision's network turns ImageNet's normalisation into this one (transform_input)
        mean = std = (0.5, 0.5, 0.5)
    return Expected(made.resize_size[0], made.crop_size[0], mean, std)


def class_names(count: int) -> list[str]:
    """Names of classes that weights know by number: ImageNet's where there are a thousand, else the numbers.

    Two of ImageNet's names occur twice; their numbers tell them apart, as in "crane (134)" and "crane (517)".
    """
    if count != IMAGENET:
        return [str(number) for number in range(count)]
    from torchvision.models import ResNet18_Weights

    names = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    return [f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names)]


def by_our_names(theirs: Mapping[str, Tensor], ours: Network) -> tuple[dict[str, Tensor], int]:
    """Name the tensors of a torchvision network as a network of ours does; both have them in the same order.

    Args:
        theirs: a state dict; batch counters and auxiliary classifiers are left out.
        ours: the same network, perhaps for another number of classes.

    Returns the tensors, and the number of classes that they are for.

    Raises:
        ValueError: it is not the same network; names the first tensor that differs.
    """
    given = [(k, v) for k, v in theirs.items() if not k.endswith(COUNTER) and not k.lower().startswith("aux")]
    wanted = [(k, v) for k, v in ours.state_dict().items() if not k.endswith(COUNTER) and not k.startswith("input.")]
    head, classes = f"{class_layer(ours.table)}.", 0
    if ours.table[-1].kind == "torchvision" and wanted:  # one closed layer, whose last module gives the classes
        head = wanted[-1][0].rpartition(".")[0] + "."
    for (their_key, their), (our_key, our) in zip(given, wanted, strict=False):
        fixed = 1 if our_key.startswith(head) else 0  # the number of classes may be another
        alike = their_key.rpartition(".")[2] == our_key.rpartition(".")[2] and their.ndim == our.ndim
        if not alike or their.shape[fixed:] != our.shape[fixed:]:
            raise ValueError(f"{their_key} is {show(their.shape)}, and here {our_key} {show(our.shape)}")
        if fixed:
            classes = classes or len(their)
            if len(their) != classes:
                raise ValueError(f"{their_key} is {show(their.shape)}, for {classes} classes")
    if len(given) != len(wanted):
        more = (given if len(given) > len(wanted) else wanted)[min(len(given), len(wanted))][0]
        raise ValueError(f"it has {len(given)} tensors, and here are {len(wanted)}; the first too many is {more}")
    if not classes:
        raise ValueError(f"{head[:-1]} is for no classes")
    named = {our_key: their for (_, their), (our_key, _) in zip(given, wanted, strict=True)}
    return named, classes
