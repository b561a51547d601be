"""What in an image, or a sentence, the answer hangs on: saliency and Grad-CAM."""

from collections.abc import Sequence

from torch import Tensor

from cnnlab.data.forms import Facts, Scale
from cnnlab.inspection.look import Findings, Look, as_input
from cnnlab.inspection.pictures import gallery, scales_of
from cnnlab.inspection.sentences import saliency_of_words
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule


class Saliency(Look):
    """Show the gradient of the answer (Simonyan et al. 2014) and Grad-CAM of the last map (Selvaraju et al. 2017).

    Of sentences it colours each word by gradient times input.

    Args:
        images: number of validation images, the first ones.
    """

    needs = ("captum.attr", "matplotlib.figure", "matplotlib.backends.backend_agg")

    def __init__(self, every_n_epochs: int = 10, images: int = 6) -> None:
        super().__init__(every_n_epochs, images=images)
        self.images = images

    def misfit(self, facts: Facts) -> str | None:
        """Look at pictures alone."""
        return None if len(facts.shape) == 3 else "pictures"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """The images with the heat of either method over them."""
        assert data.val is not None
        return saliency(classifier, data.val.inputs[: self.images], scales_of(data))


def saliency(classifier: Classifier, images: Tensor, scales: Sequence[Scale | None] = (None, None)) -> Findings:
    """The findings for images (N, C, H, W), bytes, with scales of rows and columns, or for sentences (N, L).

    A network without maps has no Grad-CAM.
    """
    if classifier.facts.vocabulary:
        return saliency_of_words(classifier, images)
    from captum.attr import LayerAttribution, LayerGradCam
    from captum.attr import Saliency as Gradient

    network = classifier.network
    inputs = as_input(images, classifier)
    answers = network(inputs).softmax(1).max(1)
    target = answers.indices
    captions = [
        f"{classifier.classes[i]} {p:.3f}" for p, i in zip(answers.values.tolist(), target.tolist(), strict=True)
    ]
    pictures = images.cpu().float() / 255
    found = Findings()
    heat = Gradient(network).attribute(inputs, target).detach().amax(1).cpu()
    found.pictures["saliency/gradient"] = gallery(pictures, captions, heat=heat, scales=scales)
    maps = [row.name for row in network.table if len(row.output_shape) == 3 and min(row.output_shape[1:]) > 1]
    if maps:
        cam = LayerGradCam(network, network.get_submodule(maps[-1])).attribute(inputs, target, relu_attributions=True)
        cam = LayerAttribution.interpolate(cam.detach(), tuple(images.shape[2:]), "bilinear")
        found.pictures[f"saliency/grad-cam of {maps[-1]}"] = gallery(
            pictures, captions, heat=cam[:, 0].cpu(), scales=scales
        )
    return found
