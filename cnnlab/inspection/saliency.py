"""Show the parts of an image or a sentence on which the prediction depends: saliency and Grad-CAM."""

from collections.abc import Sequence

from torch import Tensor

from cnnlab.data.forms import Facts, Scale
from cnnlab.inspection.look import Findings, Look, as_input
from cnnlab.inspection.pictures import gallery_figure, overlay, picture, scales_of
from cnnlab.inspection.plates import Card, Drawing, Pictures, Strip, Tile, percent
from cnnlab.inspection.sentences import saliency_of_words
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule


class Saliency(Look):
    """Show the gradient of the prediction (Simonyan et al. 2014) and Grad-CAM of the last map (Selvaraju et al. 2017).

    In sentences it colours each word by gradient times input.

    Args:
        images: number of validation images, the first ones.
    """

    needs = ("captum.attr", "matplotlib.figure", "matplotlib.backends.backend_agg")

    def __init__(self, every_n_epochs: int = 10, images: int = 6) -> None:
        super().__init__(every_n_epochs, images=images)
        self.images = images

    def misfit(self, facts: Facts) -> str | None:
        """Look at images and sentences only."""
        return None if facts.vocabulary or len(facts.shape) == 3 else "pictures and sentences"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Draw the images overlaid with the heat of each method."""
        images, labels = data.val.inputs[: self.images], data.val.labels[: self.images]
        return saliency(classifier, images, labels, scales=scales_of(data))


def saliency(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor | None = None,
    what: str = "validation images",
    scales: Sequence[Scale | None] = (None, None),
) -> Findings:
    """Return findings for images (N, C, H, W) of bytes, or sentences (N, L); a network without maps has no Grad-CAM.

    The page calls the images `what`; `scales` are those of their rows and columns.
    """
    if classifier.facts.vocabulary:
        return saliency_of_words(classifier, images)
    from captum.attr import LayerAttribution, LayerGradCam
    from captum.attr import Saliency as Gradient

    network = classifier.network
    inputs = as_input(images, classifier)
    answers = network(inputs).softmax(1).max(1)
    target = answers.indices
    named = [classifier.classes[i] for i in target.tolist()]
    captions = [f"{name} {p:.3f}" for p, name in zip(answers.values.tolist(), named, strict=True)]
    pictures = images.cpu().float() / 255
    found = Findings()
    heat = Gradient(network).attribute(inputs, target).detach().amax(1).cpu()
    heats, drawn = {"gradient": heat}, {"gradient": gallery_figure(pictures, captions, scales, heat)}
    maps = [row.name for row in network.table if len(row.output_shape) == 3 and min(row.output_shape[1:]) > 1]
    if maps:
        cam = LayerGradCam(network, network.get_submodule(maps[-1])).attribute(inputs, target, relu_attributions=True)
        cam = LayerAttribution.interpolate(cam.detach(), tuple(images.shape[2:]), "bilinear")
        heats["Grad-CAM"] = cam[:, 0].cpu()
        drawn[f"grad-cam of {maps[-1]}"] = gallery_figure(pictures, captions, scales, heats["Grad-CAM"])
    found.pictures = {f"saliency/{method}": picture(one) for method, one in drawn.items()}
    cards = []
    for number, (answer, p) in enumerate(zip(named, answers.values.tolist(), strict=True)):
        truth = "" if labels is None else f"label {classifier.classes[labels[number]]}, "
        tiles = [Tile(pictures[number], "the image")]
        tiles += [Tile(overlay(pictures[number], heat[number]), method) for method, heat in heats.items()]
        cards.append(Card(f"{truth}answer {answer}, {percent(p)}", [Strip("", tiles, wide=112)]))
    says = (
        f"For {what}, {len(images)} in all. Gradient: the pixels glow whose change would change the answer's value "
        "most (Simonyan et al. 2014)."
    )
    if maps:
        size = " × ".join(map(str, network.shapes[maps[-1]][1:]))
        says += (
            f" Grad-CAM: the places glow that speak for the answer in the maps of {maps[-1]}, the last layer that has "
            f"maps; it is as coarse as these, {size} (Selvaraju et al. 2017)."
        )
    title = "Gradient" + (" and Grad-CAM" if maps else "")
    if any(scales):
        texts = [says, *[""] * (len(drawn) - 1)]
        for (method, one), text in zip(drawn.items(), texts, strict=True):
            found.plates[f"saliency/{method}"] = Drawing(method.capitalize(), text, one)
    else:
        found.plates["saliency/gradient"] = Pictures(title, says, cards)
    return found
