"""What the two looks at layers find: what a linear classifier reads from each, and how much a shift changes each."""

import pytest
import torch

from cnnlab.data.examples import Examples
from cnnlab.data.images import permute_pixels
from cnnlab.data.stream import Files
from cnnlab.inspection.look import run_look
from cnnlab.inspection.probe import Probe, probes, some
from cnnlab.inspection.shifts import shifted, shifts
from cnnlab.training.classifier import Classifier


def network(composed, model, *overrides, shape, classes=2):
    config = composed(f"model={model}", *overrides)["model"]
    names = [str(c) for c in range(classes)]
    return Classifier(config, shape, names, [0.0] * shape[0], [1.0] * shape[0]).eval()


def test_exclusive_or_is_read_from_the_hidden_layer_and_not_from_the_inputs(composed):
    classifier = network(composed, "mlp", "model.layers.fc1.features=2", shape=(1, 1, 2))
    with torch.no_grad():
        classifier.network.fc1.linear.weight.copy_(torch.ones(2, 2))
        classifier.network.fc1.linear.bias.copy_(torch.tensor([0.0, -1.0]))
    points = torch.tensor([[0, 0], [0, 255], [255, 0], [255, 255]], dtype=torch.uint8).repeat(10, 1).view(-1, 1, 1, 2)
    data = Examples(points, (points > 0).sum((1, 2, 3)) % 2)
    accuracy = {row["layer"]: row["accuracy"] for row in probes(classifier, data, data)}
    assert accuracy["input"] <= 0.75
    assert accuracy["fc1"] == 1


def test_a_probe_is_fitted_to_training_images_and_scored_on_validation_images(composed):
    classifier = network(composed, "softmax", shape=(1, 4, 4))
    images = torch.randint(0, 256, (80, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = (images[:, 0, 0, 0] > 127).long()
    train = Examples(images, labels)
    (seen, *_) = probes(classifier, train, Examples(images, 1 - labels))
    assert (seen["layer"], seen["values"]) == ("input", 16)
    assert seen["accuracy"] < 0.05  # the labels that it is scored on are not those that it was fitted to
    assert probes(classifier, train, train)[0]["accuracy"] > 0.95
    assert probes(classifier, train, train, most=1)[0]["accuracy"] < 0.8  # of the 16 values one that says nothing


def test_images_that_are_probed_are_drawn_from_all_and_may_lie_in_files(tmp_path):
    labels = torch.arange(100) // 50
    files = [tmp_path / f"{i}" for i in range(100)]
    data = Files(files, labels, lambda path: torch.full((1, 1, 2, 2), int(path.name), dtype=torch.uint8), workers=0)
    few = some(data, 20)
    assert few.labels.unique().tolist() == [0, 1]
    assert torch.equal(few.inputs[:, 0, 0, 0] // 50, few.labels)
    assert torch.equal(few.labels, some(Examples(torch.zeros(100, 1), labels), 20).labels)


def test_probing_draws_nothing_from_torchs_generator(composed):
    classifier = network(composed, "softmax", shape=(1, 4, 4))

    class Data:
        train = val = Examples(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.arange(6) % 2)

    state = torch.get_rng_state()
    run_look(Probe().look, classifier, Data())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_change_is_a_share_of_the_distance_between_two_images(composed):
    classifier = network(composed, "softmax", shape=(2, 5, 6), classes=3)
    images = torch.randint(0, 256, (60, 2, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows, changed, kept = shifts(classifier, images, 2)
    floats = images.flatten(1).double() / 255
    apart = torch.stack([(a - b).square().sum() for i, a in enumerate(floats) for b in floats[:i]]).mean()
    ways = [(one.flatten(1).double() / 255 - floats).square().sum(1).mean() for one in shifted(images, 2)[1:]]
    assert len(ways) == 4
    assert rows[0] == {"layer": "input", "values": 60, "change": pytest.approx(float((sum(ways) / 4 / apart) ** 0.5))}
    assert rows[-1]["change"] > 0
    assert changed == pytest.approx(sum(float((one != images).float().mean()) for one in shifted(images, 2)[1:]) / 4)
    logits = [classifier.logits(one).argmax(1) for one in shifted(images, 2)]
    assert kept == pytest.approx(sum(float((one == logits[0]).float().mean()) for one in logits[1:]) / 4)


def test_what_averages_over_all_places_does_not_mind_a_shift(composed):
    pool = "+model.layers.pool={kind: avgpool, kernel_size: 8, after: input}"
    classifier = network(composed, "softmax", pool, shape=(1, 8, 8))
    images = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    images[torch.arange(20), 0, 2 + torch.arange(20) % 4, 2 + torch.arange(20) % 3] = torch.arange(100, 200, 5).byte()
    change = {row["layer"]: row["change"] for row in shifts(classifier, images, 2)[0]}
    assert change["input"] > 0.5
    assert change["pool"] == pytest.approx(0, abs=1e-6)


def test_an_image_whose_pixels_are_permuted_is_moved_before_they_are(composed):
    classifier = network(composed, "softmax", shape=(1, 8, 8))
    images = torch.randint(0, 256, (10, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain, own = (shifts(classifier, *seen)[1] for seen in ((images, 1), (permute_pixels(images), 1, True)))
    assert plain == own
    plain, own = (shifts(classifier, *seen)[0][0] for seen in ((images, 1), (permute_pixels(images), 1, True)))
    assert plain == pytest.approx(own)
