"""Decision regions: what a network answers everywhere in the plane, and what its hidden units give there."""

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

MARGIN = 1.1  # of the square that is drawn, by what the points take up
UNITS = 32  # of a layer, shown at most
SIDE = 64  # values along each side of a unit's picture
BATCH = 10_000
TAG = "decision_regions"
SAYS = (
    "A place has the colour of the class that the network answers there, the paler the less sure it is. The dots are "
    "validation points in the colour of their class; one that is answered wrongly is a cross."
)


class DecisionRegions(Look):
    """Draw the decision regions of points in the plane, the validation points over them, and what hidden units give.

    While training, it looks before the first step too. Each look leaves `decision_regions/epoch_0005.png` in the run
    directory, and the end of the training `decision_regions/film.gif`, which shows them one after the other.

    Args:
        resolution: places along each side of the square for which the network is asked.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg", "torchvision.transforms.functional")

    def __init__(self, every_n_epochs: int = 5, resolution: int = 200) -> None:
        super().__init__(every_n_epochs, resolution=resolution)
        self.resolution = resolution
        self._moment = ""  # of the training, in the title

    def misfit(self, facts: Facts) -> str | None:
        """Look at points alone."""
        return None if facts.shape == (2,) and not facts.vocabulary else "points in the plane"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """A picture of the regions, and one for each hidden layer with a tile for each unit, in the same square."""
        points, labels = data.val.inputs, data.val.labels
        drawn = figure(5.4, 5.8)
        wrong = draw_regions(drawn.add_subplot(), classifier, points, labels, self.resolution)
        drawn.legend(loc="outside lower center", ncols=2, fontsize=8)
        drawn.suptitle(f"{self._moment}{wrong:,} of {len(points):,} validation points wrong", fontsize=10)
        found = Findings(scalars={f"{TAG}/wrong": wrong / len(points)})
        found.notes[f"{TAG}/wrong"] = ""  # the drawing says it
        found.draw(f"{TAG}/regions", "Decision regions", SAYS, drawn)
        for name, maps in unit_maps(classifier, places(points, SIDE)).items():
            found.pictures[f"{TAG}/units of {name}"] = tiles(maps[:UNITS], columns=8, each=True)
            says = f"What each unit of {name} gives in the same square: red above 0, blue below."
            found.plates[f"{TAG}/units of {name}"] = Maps(f"units of {name}", says, maps[:UNITS, 0][None])
        return found

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the network as it was made."""
        if trainer.global_step == 0:
            self._note(trainer, pl_module, 0)

    def report(self, trainer: Trainer, pl_module: LightningModule) -> Findings | None:
        """Look after an epoch."""
        return self._note(trainer, pl_module, trainer.current_epoch + 1)

    def _note(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> Findings | None:
        """Look, and leave a picture in the run directory."""
        from torchvision.transforms.functional import to_pil_image

        self._moment = f"epoch {epoch}: "
        found = super().report(trainer, pl_module)
        if found is not None:
            folder = Path(trainer.default_root_dir) / TAG
            folder.mkdir(exist_ok=True)
            to_pil_image(found.pictures[f"{TAG}/regions"]).save(folder / f"epoch_{epoch:04}.png")
        return found

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the film of the pictures, those from before a resumption too."""
        if trainer.is_global_zero:
            write_film(Path(trainer.default_root_dir) / TAG)


def draw_regions(axes: "Axes", classifier: Classifier, points: Tensor, labels: Tensor, resolution: int) -> int:
    """Draw which class a network answers in the square around points, the paler the less sure, and the points.

    Points (N, 2) have the colour of their class; one that is answered wrongly is a cross with a black edge. The network
    is asked for `resolution` places along each side.

    Returns how many points are answered wrongly.
    """
    from matplotlib.colors import to_rgb

    points, labels = points.cpu(), labels.cpu()
    colours = torch.tensor([to_rgb(f"C{index % 10}") for index in range(len(classifier.classes))])
    answers = classifier.logits(places(points, resolution), BATCH).softmax(1)
    sure, best = answers.max(1)
    few = 1 / len(classifier.classes)
    strength = (0.15 + 0.45 * (sure - few) / (1 - few)).unsqueeze(1)
    shades = (1 - strength) + strength * colours[best]
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
    """Return left, right, low and high of the square around points (N, 2), a little larger than these."""
    low, high = points.amin(0), points.amax(0)
    x, y = ((low + high) / 2).tolist()
    half = float((high - low).max()) / 2 * MARGIN or 1.0
    return x - half, x + half, y - half, y + half


def places(points: Tensor, resolution: int) -> Tensor:
    """Return the middles (resolution^2, 2) of the cells of the square around points, row by row from the top."""
    left, right, low, high = square(points)
    at = (torch.arange(resolution) + 0.5) / resolution
    y, x = torch.meshgrid(high + (low - high) * at, left + (right - left) * at, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def unit_maps(classifier: Classifier, at: Tensor) -> dict[str, Tensor]:
    """Return what the units of each hidden layer give at places (n^2, 2), as maps (units, 1, n, n)."""
    network, found = classifier.network, dict[str, Tensor]()
    hidden = [row.name for row in network.table if row.name != class_layer(network.table)]

    def keep(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        side = round(len(at) ** 0.5)
        found[name] = output.detach().flatten(1).T.reshape(-1, 1, side, side).float().cpu()

    with watch({name: network.get_submodule(name) for name in hidden}, keep):
        classifier.walk(at, len(at))
    return found


def write_film(folder: Path) -> None:
    """Write `film.gif` of the pictures in a folder, in the order of their names, where there are any."""
    from PIL import Image

    frames = [Image.open(path).convert("RGB") for path in sorted(folder.glob("epoch_*.png"))]
    if frames:
        shown = [400] * (len(frames) - 1) + [2000]  # milliseconds; the last stays
        frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:], duration=shown, loop=0)
