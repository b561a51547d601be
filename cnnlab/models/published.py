"""Find torchvision's published weights, the images that they expect, and cnnlab's names for their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cnnlab.models.merges import show
from cnnlab.models.network import Network
from cnnlab.models.table import class_layer
from cnnlab.registry import hint

# cnnlab's names that differ from torchvision's; None: in torchvision another network has this name
ARCHITECTURES = {"alexnet_torchvision": "alexnet", "alexnet": None, "squeezenet": "squeezenet1_1"}
TRANSFORMED = ("googlenet", "inception_v3")  # their published weights expect images from -1 to 1, see `images_for`
COUNTER = "num_batches_tracked"  # of batch norms; older files lack it
IMAGENET = 1000  # classes


@dataclass(frozen=True)
class Expected:
    """Preprocessing that weights expect: short side scaled to `resize`, centre crop of `crop` pixels, normalised."""

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


def architecture(model: Mapping[str, Any]) -> str:
    """Return torchvision's name for a network of cnnlab.

    Raises:
        ValueError: torchvision has no such network.
    """
    from torchvision import models

    name = str(model["name"])
    found = model.get("arch") or ARCHITECTURES.get(name, name)  # `arch` where it is one closed layer
    if name.startswith("vgg") and model.get("norm") == "batch":
        found = f"{name}_bn"
    if found is None or found not in models.list_models(module=models):
        ours = next((key for key, value in ARCHITECTURES.items() if value == name), None)
        remedy = f"; the network that torchvision calls so is model={ours}" if ours else ""
        raise ValueError(f"torchvision has no weights for model={name}{remedy}")
    return found


def published(model: Mapping[str, Any], name: str = "") -> Any:
    """Return torchvision's entry for published weights, such as "IMAGENET1K_V2"; without a name, its default.

    Raises:
        ValueError: torchvision has no such network, or no such entry.
    """
    from torchvision import models

    known = models.get_model_weights(architecture(model))
    if not name or name == "DEFAULT":
        return known.DEFAULT
    if name not in known.__members__:
        raise ValueError(f"torchvision has no weights {name} for model={model['name']}{hint(name, known.__members__)}")
    return known[name]


def recognise(model: Mapping[str, Any], sha256: str) -> Any:
    """Return the entry whose published file name has the first digits of a file's SHA-256, or None."""
    from torchvision import models

    try:
        known = models.get_model_weights(architecture(model))
    except ValueError:
        return None
    return next((w for w in known if sha256.startswith(file_name(w).rpartition("-")[2].partition(".")[0])), None)


def file_name(entry: Any) -> str:
    """Return the file name of published weights."""
    return str(entry.url).rpartition("/")[2]


def images_for(entry: Any) -> Expected:
    """Return the preprocessing that published weights expect; for None, unknown weights, ImageNet's usual one.

    Raises:
        ValueError: they expect an interpolation other than bilinear.
    """
    if entry is None:
        return Expected()
    preset = entry.transforms()
    if preset.interpolation.value != "bilinear":
        raise ValueError(f"{file_name(entry)} expects images scaled by {preset.interpolation.value} interpolation")
    mean, std = tuple(preset.mean), tuple(preset.std)
    if file_name(entry).startswith(TRANSFORMED):
        # torchvision's network turns ImageNet's normalisation into this one (transform_input)
        mean = std = (0.5, 0.5, 0.5)
    return Expected(preset.resize_size[0], preset.crop_size[0], mean, std)


def class_names(count: int) -> list[str]:
    """Return the class names of weights without any: ImageNet's for a thousand classes, else the class indices.

    Two of ImageNet's names occur twice; the index is added to them, as in "crane (134)" and "crane (517)".
    """
    if count != IMAGENET:
        return [str(number) for number in range(count)]
    from torchvision.models import ResNet18_Weights

    names = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    return [f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names)]


def by_our_names(theirs: Mapping[str, Tensor], ours: Network) -> tuple[dict[str, Tensor], int]:
    """Rename the tensors of a torchvision network to those of a cnnlab network, which has them in the same order.

    Args:
        theirs: a state dict; batch counters and auxiliary classifiers are left out.
        ours: the same network; its number of classes may differ.

    Returns the renamed tensors, and their number of classes.

    Raises:
        ValueError: the networks differ; names the first tensor that does.
    """
    given = [(k, v) for k, v in theirs.items() if not k.endswith(COUNTER) and not k.lower().startswith("aux")]
    wanted = [(k, v) for k, v in ours.state_dict().items() if not k.endswith(COUNTER) and not k.startswith("input.")]
    head, classes = f"{class_layer(ours.table)}.", 0
    if ours.table[-1].kind == "torchvision" and wanted:  # one closed layer; its last module gives the classes
        head = wanted[-1][0].rpartition(".")[0] + "."
    for (their_key, their), (our_key, our) in zip(given, wanted, strict=False):
        fixed = 1 if our_key.startswith(head) else 0  # axes that may differ: the number of classes
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
