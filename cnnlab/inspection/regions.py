"""Draw decision regions in the plane, and the outputs of hidden units there."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from cnnlab.data.forms import Facts
from cnnlab.inspection.look import Findings, Look
from cnnlab.inspection.pictures import figure, tiles
from cnnlab.inspection.plates import Maps
from cnnlab.models.hooks import watch
from cnnlab.models.table import class_layer
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 1.1  # side of the square over the extent of the points
UNITS = 32  # of a layer, shown at most
SIDE = 64  # values along each side of a unit's picture
BATCH = 10_000
TAG = "decision_regions"
SAYS = (
    "A place has the colour of the class that the network answers there, the paler the less sure it is. The dots are "
    "validation points in the colour of their class; one that is answered wrongly is a cross."
)


class DecisionRegions(Look):
    """Draw the decision regions of points in the plane, the validation points over them, and the hidden units.

    During training it also looks before the first step. Each look saves `decision_regions/epoch_0005.png` in the run
    directory, and the end of training `decision_regions/film.gif`, a film of these pictures.

    Args:
        resolution: points along each side of the square at which the network is evaluated.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg", "torchvision.transforms.functional")

    def __init__(self, every_n_epochs: int = 5, resolution: int = 200) -> None:
        super().__init__(every_n_epochs, resolution=resolution)
        self.resolution = resolution
        self._prefix = ""  # of the title: the epoch

    def misfit(self, facts: Facts) -> str | None:
        """Look at points only."""
        return None if facts.shape == (2,) and not facts.vocabulary else "points in the plane"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Draw the regions, and for each hidden layer a tile for each unit, in the same square."""
        points, labels = data.val.inputs, data.val.labels
        drawn = figure(5.4, 5.8)
        wrong = draw_regions(drawn.add_subplot(), classifier, points, labels, self.resolution)
        drawn.legend(loc="outside lower center", ncols=2, fontsize=8)
        drawn.suptitle(f"{self._prefix}{wrong:,} of {len(points):,} validation points wrong", fontsize=10)
        found = Findings(scalars={f"{TAG}/wrong": wrong / len(points)})
        found.notes[f"{TAG}/wrong"] = ""  # the drawing shows it
        found.draw(f"{TAG}/regions", "Decision regions", SAYS, drawn)
        for name, maps in unit_maps(classifier, places(points, SIDE)).items():
            found.pictures[f"{TAG}/units of {name}"] = tiles(maps[:UNITS], columns=8, each=True)
            says = f"What each unit of {name} gives in the same square: red above 0, blue below."
            found.plates[f"{TAG}/units of {name}"] = Maps(f"units of {name}", says, maps[:UNITS, 0][None])
        return found

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the untrained network."""
        if trainer.global_step == 0:
            self._look_and_save(trainer, pl_module, 0)

    def report(self, trainer: Trainer, pl_module: LightningModule) -> Findings | None:
        """Look after an epoch."""
        return self._look_and_save(trainer, pl_module, trainer.current_epoch + 1)

    def _look_and_save(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> Findings | None:
        """Look, and save the picture of the regions in the run directory."""
        from torchvision.transforms.functional import to_pil_image

        self._prefix = f"epoch {epoch}: "
        found = super().report(trainer, pl_module)
        if found is not None:
            folder = Path(trainer.default_root_dir) / TAG
            folder.mkdir(exist_ok=True)
            to_pil_image(found.pictures[f"{TAG}/regions"]).save(folder / f"epoch_{epoch:04}.png")
        return found

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the film of all pictures, also those from before the run was resumed."""
        if trainer.is_global_zero:
            write_film(Path(trainer.default_root_dir) / TAG)


def draw_regions(axes: "Axes", classifier: Classifier, points: Tensor, labels: Tensor, resolution: int) -> int:
    """Draw the predicted class in the square around points, the paler the less confident, and the points.

    Points (N, 2) have the colour of their class; a misclassified one is a cross with a black edge. The network is
    evaluated at `resolution` points along each side.

    Returns the number of misclassified points.
    """
    from matplotlib.colors import to_rgb

    points, labels = points.cpu(), labels.cpu()
    colours = torch.tensor([to_rgb(f"C{index % 10}") for index in range(len(classifier.classes))])
    probabilities = classifier.logits(places(points, resolution), BATCH).softmax(1)
    confidence, predicted = probabilities.max(1)
    uniform = 1 / len(classifier.classes)
    strength = (0.15 + 0.45 * (confidence - uniform) / (1 - uniform)).unsqueeze(1)
    shades = (1 - strength) + strength * colours[predicted]
    ends = square(points)
    axes.imshow(shades.view(resolution, resolution, 3).clamp(0, 1).numpy(), extent=ends)
    right = classifier.logits(points, BATCH).argmax(1) == labels
    for index, name in enumerate(classifier.classes):
        colour = [colours[index].tolist()]
        x, y = points[(labels == index) & right].T.numpy()
        axes.scatter(x, y, 9, colour, marker="o", edgecolors="white", linewidths=0.3, label=f"is {name}")
        x, y = points[(labels == index) & ~right].T.numpy()
        wrong = f"is {name}, answered wrongly"
        axes.scatter(x, y, 34, colour, marker="X", edgecolors="black", linewidths=0.8, label=wrong)
    axes.set(xlim=ends[:2], ylim=ends[2:], xlabel="first coordinate", ylabel="second coordinate")
    return int((~right).sum())


def square(points: Tensor) -> tuple[float, float, float, float]:
    """Return left, right, low and high of the square around points (N, 2), with a margin."""
    low, high = points.amin(0), points.amax(0)
    x, y = ((low + high) / 2).tolist()
    half = float((high - low).max()) / 2 * MARGIN or 1.0
    return x - half, x + half, y - half, y + half


def places(points: Tensor, resolution: int) -> Tensor:
    """Return the centres (resolution^2, 2) of a grid of cells on the square around points, row by row from the top."""
    left, right, low, high = square(points)
    at = (torch.arange(resolution) + 0.5) / resolution
    y, x = torch.meshgrid(high + (low - high) * at, left + (right - left) * at, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def unit_maps(classifier: Classifier, at: Tensor) -> dict[str, Tensor]:
    """Return the outputs of each hidden layer's units at points (n^2, 2), as maps (units, 1, n, n)."""
    network, found = classifier.network, dict[str, Tensor]()
    hidden = [row.name for row in network.table if row.name != class_layer(network.table)]

    def keep(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        side = round(len(at) ** 0.5)
        found[name] = output.detach().flatten(1).T.reshape(-1, 1, side, side).float().cpu()

    with watch({name: network.get_submodule(name) for name in hidden}, keep):
        classifier.walk(at, len(at))
    return found


def write_film(folder: Path) -> None:
    """Write `film.gif` of the pictures in a folder, in the order of their names, if there are any."""
    from PIL import Image

    frames = [Image.open(path).convert("RGB") for path in sorted(folder.glob("epoch_*.png"))]
    if frames:
        durations = [400] * (len(frames) - 1) + [2000]  # milliseconds; the last stays
        frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:], duration=durations, loop=0)
