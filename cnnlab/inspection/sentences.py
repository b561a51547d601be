"""Show sentences: words coloured by their attribution, and the n-grams that excite a filter."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cnnlab.inspection.look import Findings
from cnnlab.inspection.pictures import figure, picture
from cnnlab.models.hooks import watch
from cnnlab.models.sentences import PADDING
from cnnlab.training.classifier import Classifier

COLUMNS = 110  # characters in a line of a picture
CHARACTER = 0.0753  # width of a character in inches, at 9 points
LINE = 0.25  # height of a line in inches
SHOWN = 6  # n-grams of a filter


def sentence(ids: Tensor, vocabulary: Sequence[str]) -> str:
    """Return the words of ids (L,), without padding."""
    return " ".join(vocabulary[i] for i in ids.tolist() if i != PADDING)


def word_scores(classifier: Classifier, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return each position's attribution (N, L) to the predicted logit, by gradient times input, and the logits.

    The input is the output of the layers that read the words: a vector for each word, one-hot or embedded, or counts.
    """
    network, outputs = classifier.network, dict[str, Tensor]()
    readers = {row.name: network.get_submodule(row.name) for row in network.table if "input" in row.sources}

    def keep(name: str, inputs: Any, output: Tensor) -> Tensor:
        outputs[name] = output.detach().requires_grad_()
        return outputs[name]

    ids = ids.to(classifier.device)
    with watch(readers, keep):
        logits = network(ids)
    gradients = torch.autograd.grad(logits.amax(1).sum(), list(outputs.values()))
    scores = torch.zeros(ids.shape, device=ids.device)
    for values, gradient in zip(outputs.values(), gradients, strict=True):
        # of counts (N, words), each occurrence adds the gradient once
        scores += (values * gradient).sum(1).detach() if values.ndim == 3 else gradient.gather(1, ids)
    return (scores * (ids != PADDING)).cpu(), logits.detach().cpu()


def saliency_of_words(classifier: Classifier, ids: Tensor) -> Findings:
    """Draw sentences (N, L), every word coloured by its score: blue for the predicted class, red against it."""
    scores, logits = word_scores(classifier, ids)
    confidence, answers = logits.softmax(1).max(1)
    rows = []
    for row, own, answer, sure in zip(ids.cpu(), scores, answers.tolist(), confidence.tolist(), strict=True):
        is_word = row != PADDING
        words = [classifier.facts.vocabulary[i] for i in row[is_word].tolist()]
        rows.append((f"{classifier.classes[answer]} {sure:.3f}", words, own[is_word].tolist()))
    return Findings(pictures={"saliency/gradient times input": draw_sentences(rows)})


def draw_sentences(rows: Sequence[tuple[str, Sequence[str], Sequence[float]]]) -> Tensor:
    """Draw sentences: a caption, and words coloured by their scores relative to the largest of the sentence."""
    from matplotlib import colormaps

    colours, placed, y = colormaps["RdBu"], list[tuple[int, int, str, Any]](), 0
    for caption, words, scores in rows:
        placed.append((0, y, caption, None))
        most, x, y = max(map(abs, scores), default=0.0) or 1.0, 2, y + 1
        for word, score in zip(words, scores, strict=True):
            if x + len(word) > COLUMNS and x > 2:
                x, y = 2, y + 1
            placed.append((x, y, word, colours(0.5 + 0.45 * score / most)))
            x += len(word) + 2
        y += 2
    drawn = figure(COLUMNS * CHARACTER, y * LINE)
    drawn.set_layout_engine("none")
    axes = drawn.add_axes((0, 0, 1, 1), xlim=(-1, COLUMNS), ylim=(y - 0.5, -1))
    axes.set_axis_off()
    for start, line, word, colour in placed:
        box = {"facecolor": colour, "edgecolor": "none", "pad": 2.0} if colour else None
        ink = "white" if colour and sum(colour[:3]) < 1.5 else "black"
        written = axes.text(start, line, word, fontsize=9, family="monospace", bbox=box, color=ink)
        written.set_verticalalignment("center_baseline")
        written.set_parse_math(False)  # a dollar sign is no formula
    return picture(drawn)


def ngrams(classifier: Classifier, ids: Tensor, layer: str, values: Tensor, places: Tensor, count: int) -> Findings:
    """List the n-grams that excite each of a layer's `count` strongest channels most.

    For sentences (N, L), `values` (N, C) are the largest values of each channel, `places` (N, C, 1) their positions.
    """
    reach, found = classifier.network.reaches[layer], Findings()
    best = values.topk(min(SHOWN, len(values)), dim=0).values.mean(0)
    for channel in best.argsort(descending=True)[:count].tolist():
        shown: dict[str, float] = {}
        for n in values[:, channel].argsort(descending=True).tolist():
            start = reach.first[0] + int(places[n, channel, 0]) * reach.step[0]
            seen = ids[n, max(0, start) : max(0, start + reach.size[0])]
            shown.setdefault(sentence(seen, classifier.facts.vocabulary), float(values[n, channel]))
            if len(shown) == SHOWN:
                break
        listed = ", ".join(f'"{words or "<pad>"}" {value:.2f}' for words, value in shown.items())
        found.texts[f"features/{layer}/channel {channel}"] = f"channel {channel}: {listed}"
    return found
