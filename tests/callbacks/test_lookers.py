"""What lookers find, on every kind of network that ships, and what TensorBoard gets of it."""

import functools
import os
import re
import subprocess
import sys

import pytest
import torch
from shipped import LARGE, VARIED, usual_input
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cnnlab
from cnnlab.config.compose import conf_dir
from cnnlab.config.targets import target
from cnnlab.data.examples import Examples
from cnnlab.inspection.ascent import Spectrum, excitement, gradient_ascent, maco
from cnnlab.inspection.embeddings import Embeddings
from cnnlab.inspection.features import Features, crops, guided, strongest
from cnnlab.inspection.filters import Filters, panel
from cnnlab.inspection.health import Health
from cnnlab.inspection.look import run_look
from cnnlab.inspection.mistakes import Mistakes, mistakes
from cnnlab.inspection.page import Page
from cnnlab.inspection.plates import Inputs
from cnnlab.inspection.probe import Probe
from cnnlab.inspection.saliency import Saliency
from cnnlab.inspection.shifts import Shifts
from cnnlab.training.callbacks.graph import traced_graph
from cnnlab.training.classifier import Classifier

pytestmark = pytest.mark.slow

LOOKERS = (Filters, Health, Mistakes, Features, Saliency, Embeddings, Probe, Shifts)


class Validation:
    """As much of a data module as lookers look at."""

    def __init__(self, shape, classes, count=12):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
        self.train = self.val = Examples(images, torch.arange(count) % classes)
        self.config = {"name": "mnist"}


def untrained(composed, model, *overrides, classes=10):
    (maps, *sides), _ = usual_input(model)
    shape = (maps, *(side // 2 for side in sides)) if model in LARGE else (maps, *sides)
    config = composed(f"model={model}", *overrides)["model"]
    names = [str(c) for c in range(classes)]
    return Classifier(config, shape, names, [0.5] * shape[0], [0.3] * shape[0]), Validation(shape, classes)


def shown_words(page: str) -> set[str]:
    """What stands alone in an element of a page, but for its last word, which may be a number."""
    return {text.rpartition(" ")[0] for text in re.findall(r">([^<>]+)<", page)}


def sound(picture: torch.Tensor) -> bool:
    """Three colours, from 0 to 1."""
    return picture.ndim == 3 and len(picture) == 3 and 0 <= picture.min() <= picture.max() <= 1


# one of each kind of layer, because lookers go from layer to layer; mistakes are told from logits, whatever gives them
SEEN = [(m, look) for m in VARIED for look in LOOKERS if look is not Mistakes or m in ("lenet5", "lenet5_1998")]


@pytest.fixture(scope="module")
def varied(composed):
    """Each of the networks once, with data: lookers leave both as they are, which is tested."""
    return functools.cache(
        lambda model: untrained(composed, model, *VARIED[model], classes=2 if model.startswith("xo_") else 10)
    )


@pytest.mark.parametrize(("model", "looker"), SEEN)
def test_every_looker_looks_at_every_kind_of_network(varied, model, looker):
    classifier, data = varied(model)
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    options = {"steps": 2, "channels": 2} if looker is Features else {}  # two show the same as four
    found = run_look(looker(**options).look, classifier, data)
    assert all(sound(picture) for picture in found.pictures.values())
    assert all(picture.std() > 0 for tag, picture in found.pictures.items() if "gradient" not in tag), "blank"
    assert all(isinstance(v, float) for v in found.scalars.values())
    assert all(torch.equal(before[k], v) for k, v in classifier.state_dict().items())
    assert not any(m._forward_hooks for m in classifier.network.modules())
    page = Page([row.name for row in classifier.network.table])
    page.add(found)
    text = page.html("title", "lead", "run")
    assert all(plate.says and plate.title in text for plate in found.plates.values() if not isinstance(plate, Inputs))
    assert not {tag.rpartition("/")[2] for tag in found.scalars} & shown_words(text), "a raw name"
    if looker is Filters:
        assert {tag.split("/")[1] for tag in found.texts} == {row.name for row in classifier.network.table}


@pytest.mark.parametrize("removed", ["conv1", "pool1", "conv2", "pool2", "fc3", "fc4"])
def test_lookers_survive_any_removal(composed, removed):
    classifier, data = untrained(composed, "lenet5", f"model.remove=[{removed}]")
    for looker in LOOKERS:
        options = {"steps": 1, "channels": 1} if looker is Features else {}
        found = run_look(looker(**options).look, classifier, data)
        assert not any(removed in tag for tag in (*found.pictures, *found.scalars, *found.texts))


def test_the_panel_says_what_autograd_says(composed):
    classifier, data = untrained(composed, "lenet5")
    classifier.eval()
    found = panel(classifier, data.val.inputs[:4], data.val.labels[:4])
    value = classifier.network.conv1(classifier.network.input(data.val.inputs[:4])).detach().requires_grad_()
    out = value
    for name in ("pool1", "conv2", "pool2", "fc3", "fc4", "head"):
        out = getattr(classifier.network, name)(out)
    torch.nn.functional.cross_entropy(out, data.val.labels[:4]).backward()
    assert found.scalars["filters/conv1/activation max"] == pytest.approx(float(value.detach().max()), rel=1e-5)
    assert found.scalars["filters/conv1/gradient min"] == pytest.approx(float(value.grad.min()), rel=1e-4)
    assert found.texts["filters/conv1"] == "6x28x28, filter 5x5, stride 1x1, 156 parameters"
    height, width = found.pictures["filters/conv1/activations"].shape[1:]
    assert (height, width) == (4 * 30 + 2, 6 * 30 + 2)  # a row an image, a tile a channel, two pixels between


def test_the_embedding_is_what_the_classifier_reads_though_a_layer_follows_it(composed):
    classifier, data = untrained(composed, "airbench", "model.width=0.25")
    (vectors, _, _) = run_look(Embeddings().look, classifier, data).embeddings["embeddings"]
    assert classifier.network.table[-1].kind == "scale"
    assert vectors.shape == (12, classifier.network.table[-3].output_shape[0])


def test_a_classifier_that_is_a_convolution_embeds_the_mean_over_positions(composed):
    classifier, data = untrained(composed, "all_cnn", "model.width=0.125")
    (vectors, _, _) = run_look(Embeddings().look, classifier, data).embeddings["embeddings"]
    values = {name: value for name, _, value in classifier.network.eval().walk(data.val.inputs)}
    (read,) = next(row.sources for row in classifier.network.table if row.kind == "conv_classifier")
    assert torch.allclose(vectors, values[read].mean((2, 3)), atol=1e-5)


def test_the_panel_shows_what_sums_give_and_where_a_layer_reads_another_than_the_one_before(composed):
    classifier, data = untrained(composed, "resnet20", "model.width=0.25")
    classifier.eval()
    found = panel(classifier, data.val.inputs[:2], data.val.labels[:2])
    assert found.texts["filters/s1b1_add"] == "4x32x32, 0 parameters; reads s1b1_conv2 and stem"
    assert found.texts["filters/s2b1_proj"].endswith("; reads s1b3_add")
    assert "reads" not in found.texts["filters/s2b1_conv1"]
    values = {name: value for name, _, value in classifier.network.walk(data.val.inputs[:2])}
    body, shortcut = (values[f"s2b1_{name}"] for name in ("conv2", "proj"))
    assert found.scalars["filters/s2b1_add/activation max"] == pytest.approx((body + shortcut).max().item(), rel=1e-5)


def test_dead_and_saturated_units_are_counted(composed):
    classifier, data = untrained(composed, "lenet5", "model.activation=relu")
    with torch.no_grad():
        classifier.network.conv1.conv.bias[:3] = -1e3
    found = run_look(Health().look, classifier, data)
    assert found.scalars["health/conv1/dead"] == 0.5
    with torch.no_grad():
        images = data.val.inputs[:250]
        maps = classifier.network.conv1(classifier.network.input(images))
    assert 0.5 < found.scalars["health/conv1/zeros"] < 1
    assert found.scalars["health/conv1/zeros"] == pytest.approx((maps == 0).double().mean().item(), abs=1e-6)
    classifier, data = untrained(composed, "mlp_sigmoid")
    with torch.no_grad():
        classifier.network.fc1.linear.bias.fill_(50)
    found = run_look(Health().look, classifier, data)
    assert found.scalars["health/fc1/saturated"] == 1
    classifier, data = untrained(composed, "resnet20", "model.width=0.25")
    with torch.no_grad():
        for name in ("s2b1_conv2", "s2b1_proj"):
            classifier.network.get_submodule(name).norm.bias[:2] = -1e3
    found = run_look(Health().look, classifier, data)
    assert found.scalars["health/s2b1_add/dead"] == 2 / 8
    assert "health/s2b1_proj/dead" not in found.scalars


def test_dead_maps_are_named_and_crossed_out_and_no_image_is_made_for_them(composed):
    classifier, data = untrained(composed, "lenet5", "model.activation=relu")
    with torch.no_grad():
        classifier.network.conv1.conv.bias[[1, 4]] = -1e3
    health, filters = (run_look(looker().look, classifier, data) for looker in (Health, Filters))
    assert health.notes["health/conv1/dead"].startswith("2 of 6 maps are dead (1, 4): 0 for each of 12 validation")
    assert filters.plates["filters/conv1/activations"].dead == [1, 4]
    cards = (
        run_look(Features(channels=6, steps=2).look, classifier, data).plates["features/conv1/strongest patches"].cards
    )
    assert sorted(card.head for card in cards) == ["map 0", "map 2", "map 3", "map 5"]


def test_the_strongest_channels_are_those_with_the_largest_values(composed):
    classifier, data = untrained(composed, "lenet5")
    data.val.inputs[:9] = 0  # the first nine images excite none of them
    values, _ = strongest(classifier, data.val.inputs, ["conv2"])["conv2"]
    expected = values.sort(0, descending=True).values[:9].mean(0).argmax().item()
    plate = run_look(Features(channels=1, steps=2).look, classifier, data).plates["features/conv2/strongest patches"]
    assert [card.head for card in plate.cards] == [f"map {expected}"]


def test_maco_changes_phases_alone_and_excites(composed):
    classifier, data = untrained(composed, "alexnet_cifar", "model.width=0.25")
    images = data.val.inputs.float() / 255
    spectrum = Spectrum.of(images)
    parts = torch.einsum("nchw,cd->ndhw", images - spectrum.mean, spectrum.colours)
    assert torch.allclose(spectrum.magnitude, torch.fft.rfft2(parts).abs().mean(0), atol=1e-4)
    made = spectrum.images(torch.randn(2, *spectrum.magnitude.shape))
    again = torch.fft.rfft2(torch.einsum("nchw,cd->ndhw", made - spectrum.mean, spectrum.colours)).abs()
    inner = (
        slice(None),
        slice(None),
        slice(None),
        slice(1, -1),
    )  # a real image has real ends: their phases do not count
    assert torch.allclose(again[inner], spectrum.magnitude.expand_as(again)[inner], atol=1e-3)
    excited = excitement(classifier.eval(), "conv3", torch.tensor([0, 5]))
    start, _ = maco(excited, spectrum, 2, 0)
    better, opaque = maco(excited, spectrum, 2, 12)
    assert (excited(better) > excited(start) + 0.1 * excited(start).abs()).all()
    assert 0 <= opaque.min() < 0.5 < opaque.max() <= 1
    noise = images[:2]
    assert (excited(gradient_ascent(excited, noise, 12)) > excited(noise)).all()


def test_mistakes_are_counted_and_the_most_confident_come_first():
    labels = torch.tensor([0, 0, 1, 1, 2])
    logits = torch.tensor([[9.0, 0, 0], [0, 5, 0], [0, 9, 0], [7, 0, 0], [0, 0, 9]])
    found = mistakes(logits, torch.zeros(5, 1, 4, 4, dtype=torch.uint8), labels, ["a", "b", "c"])
    accuracy = {k.rpartition("/")[2]: v for k, v in found.scalars.items() if "accuracy" in k}
    assert accuracy == {"a": 0.5, "b": 0.5, "c": 1.0}
    confidence = logits.softmax(1).max(1).values
    right = torch.tensor([1.0, 0, 1, 0, 1])
    bins = (confidence * 15).long().clamp(max=14)
    expected = sum(
        (bins == b).float().mean() * (confidence[bins == b].mean() - right[bins == b].mean()).abs()
        for b in bins.unique()
    )
    assert found.scalars["mistakes/ece"] == pytest.approx(float(expected), abs=1e-5)
    assert "mistakes/most confident" in found.pictures


@pytest.mark.parametrize(
    ("model", "layer"), [("lenet5", "conv2"), ("resnet20", "s2b2_conv1"), ("inception_cifar", "i1b_conv3")]
)
def test_a_patch_is_what_the_value_really_sees(composed, model, layer):
    classifier, data = untrained(composed, model)
    network, images = classifier.network.eval(), data.val.inputs
    values, places = strongest(classifier, images, [layer])[layer]
    reach = network.reaches[layer]
    patch = crops(images[:1].float(), places[:1, 3], reach)[0, 0]
    inputs = (images[:1] / 255).requires_grad_()
    out = next(value for name, _, value in network.walk(inputs) if name == layer)
    row, column = places[0, 3].tolist()
    assert out[0, 3, row, column].item() == pytest.approx(values[0, 3].item(), rel=1e-4)
    (gradient,) = torch.autograd.grad(out[0, 3, row, column], inputs)
    rows, columns = (gradient[0, 0].abs().sum(axis).nonzero().flatten() for axis in (1, 0))
    seen = images[0, 0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].float()
    top, left = (
        rows.min() - (reach.first[0] + row * reach.step[0]),
        columns.min() - (reach.first[1] + column * reach.step[1]),
    )
    assert patch.shape == reach.size
    assert torch.equal(patch[top : top + seen.shape[0], left : left + seen.shape[1]], seen)


class GuidedReLU(torch.autograd.Function):
    """Lets gradients through where input and gradient are above 0."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient.relu() * (x > 0)


@pytest.mark.parametrize(("model", "layer"), [("resnet20", "s2b1_conv2"), ("inception_cifar", "i1b_conv3")])
def test_guided_backpropagation_goes_through_sums_and_branches(composed, monkeypatch, model, layer):
    classifier, data = untrained(composed, model, "model.width=0.25")
    classifier.eval()
    images, places = data.val.inputs[:3], torch.tensor([[2, 3], [4, 5], [0, 1]])
    found = guided(classifier, layer, 1, places, images)
    monkeypatch.setattr(torch.nn.ReLU, "forward", lambda self, x: GuidedReLU.apply(x))
    inputs = (images / 255).requires_grad_()
    out = next(value for name, _, value in classifier.network.walk(inputs) if name == layer)
    (expected,) = torch.autograd.grad(out[torch.arange(3), 1, places[:, 0], places[:, 1]].sum(), inputs)
    assert expected.abs().max() > 0
    assert torch.allclose(found, expected, atol=1e-6)


def test_tensorboards_graph_has_the_edges_of_a_graph(composed):
    classifier, _ = untrained(composed, "inception_cifar", "model.width=0.25")
    residual, _ = untrained(composed, "resnet20", "model.width=0.25")

    def read(of: Classifier, layer: str) -> list[str]:
        """The layers whose values reach a merge, as the protocol buffer has them."""
        nodes = [node for node in traced_graph(of)[0].node if f"[{layer}]" in node.name]
        inputs = [name for node in nodes for name in node.input if f"[{layer}]" not in name]
        return [name.partition("[")[2].partition("]")[0] for name in inputs]

    assert read(residual, "s1b2_add") == ["s1b2_conv2", "s1b1_add"]
    assert read(residual, "s2b1_add") == ["s2b1_conv2", "s2b1_proj"]
    assert read(classifier, "i1a_concat") == ["i1a_conv1", "i1a_conv3", "i1a_conv5", "i1a_project"]


def test_each_can_be_switched_off_or_set_alone(composed):
    callbacks = composed("callbacks=inspect", "~callbacks.embeddings", "callbacks.filters.every_n_epochs=1")[
        "callbacks"
    ]
    assert "embeddings" not in callbacks
    from lightning.pytorch import Callback

    assert target(callbacks["filters"], Callback)().every_n_epochs == 1
    with pytest.raises(ValueError, match="every_n_epochs must be a whole number of at least 1"):
        Filters(0)


@pytest.fixture(scope="module")
def watched_run(tmp_path_factory):
    """A run with everything switched on."""
    output = tmp_path_factory.mktemp("outputs")
    fit = ["trainer=cpu", "trainer.max_epochs=3", "model.activation=relu", "trainer.log_every_n_steps=10"]
    return cnnlab.fit([*fit, "callbacks=inspect", "callbacks.filters.every_n_epochs=2", f"output_dir={output}"])


def test_tensorboard_gets_pictures_histograms_curves_and_the_projector(watched_run):
    events = EventAccumulator(str(watched_run.directory), size_guidance={"images": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    pictures = {t for t in tags["images"] if t.startswith("filters/")}
    assert {f"filters/{n}/activations" for n in ("conv1", "pool1", "conv2", "pool2", "fc3", "fc4", "head")} <= pictures
    assert len(events.Images("filters/conv1/weights")) == 2  # after the second epoch and the last
    assert len(events.Images("mistakes/confusion")) == 1
    steps = [event.step for event in events.Scalars("within health/conv1/gradient norm")]
    assert steps == [s for s in range(max(steps) + 1) if s % 10 == 0]
    assert all(0 < e.value < 1 for e in events.Scalars("within health/fc3/update to weight"))
    assert "health/conv2/weights" in tags["histograms"]
    groups = sorted({tag.partition("/")[0] for tag in tags["scalars"]})
    assert [group for group in groups if group.startswith("within ")] == groups[groups.index("val") + 1 :]
    charts = {name: chart["multiline"] for name, chart in layout(events).items()}
    assert list(charts)[:2] == ["loss", "accuracy"]
    shown = {name: [t for t in tags["scalars"] if re.search(chart[0], t)] for name, chart in charts.items()}
    assert sorted(shown["loss"]) == ["train/loss", "val/loss"]
    assert {"within health/conv1/gradient norm", "within health/head/gradient norm"} <= set(shown["gradient norm"])
    assert "within health/fc3/dead" in shown["dead"]
    assert "mistakes/pr/3" in events.summary_metadata
    assert (watched_run.directory / "projector_config.pbtxt").is_file()
    assert len(list(watched_run.directory.glob("*/embeddings/sprite.png"))) == 1


def layout(events: EventAccumulator) -> dict:
    """The charts of the tab Custom Scalars, in order: each with the tags that it shows."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    (event,) = events.Tensors("custom_scalars__config__")
    parsed = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {
        chart.title: {"multiline": list(chart.multiline.tag)}
        for category in parsed.category
        for chart in category.chart
    }


def test_tensorboard_shows_scalars_images_and_hparams_in_a_browser(watched_run, browser):
    import socket

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(watched_run.directory), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        page = browser.new_page()
        for _ in range(60):
            try:
                page.goto(f"http://localhost:{port}/#scalars")
                break
            except Exception:
                page.wait_for_timeout(500)
        page.get_by_text("val", exact=True).filter(visible=True).first.wait_for(timeout=90_000)
        page.goto(f"http://localhost:{port}/#images")
        page.get_by_text("filters", exact=True).filter(visible=True).first.wait_for(timeout=90_000)
        page.goto(f"http://localhost:{port}/#hparams")
        page.get_by_text("final/test/acc").filter(visible=True).first.wait_for(timeout=90_000)
    finally:
        server.terminate()
        server.wait(20)


def test_inspect_makes_a_page_from_a_finished_run(watched_run, tmp_path, browser):
    from PIL import Image

    from cnnlab.inspection.inspect import inspect

    Image.new("L", (40, 40), 120).save(tmp_path / "mine.png")
    lookers = load_lookers()
    path = inspect(watched_run, lookers, [tmp_path / "mine.png"])
    page = opened(browser, path, 1300)
    sections = page.locator("section > h2").all_inner_texts()
    assert sections[1:8] == ["conv1", "pool1", "conv2", "pool2", "fc3", "fc4", "head"]
    assert {"What the network gets wrong", "Where the answer comes from", "How it arranges the images"} <= set(sections)
    assert "Test accuracy" in page.locator(".top").inner_text()
    assert "validation images" in page.locator("#mistakes").inner_text()
    assert "For images given, 1 in all." in page.locator("#saliency").inner_text()
    sizes = page.evaluate("[...document.querySelectorAll('img, canvas')].map(i => i.getBoundingClientRect().width)")
    assert len(sizes) > 100
    assert min(size for size in sizes if size) >= 24  # hidden ones have none
    assert list((watched_run.directory / "inspect").glob("events.out.tfevents.*"))
    page.close()


@pytest.mark.parametrize("width", [400, 1300])
def test_the_page_shows_the_values_of_the_image_that_is_chosen(watched_run, browser, width):
    from cnnlab.inspection.inspect import inspect
    from cnnlab.training.datamodule import DataModule

    page = opened(browser, inspect(watched_run, {"filters": load_lookers()["filters"]}), width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    data = DataModule(watched_run.config["data"])
    data.setup()
    network = watched_run.classifier().network
    for image in (0, 2):
        page.locator(f"#pictures input[value='{image}']").check(force=True)
        expected = {name: value for name, _, value in network.walk(data.val.inputs[image : image + 1])}["conv2"][0, 3]
        grid = page.locator("#conv2 .grid canvas[role=img]").first
        grid.press("Enter")
        for _ in range(3):
            grid.press("PageDown")
        shown = page.locator("#conv2 .read").first.inner_text()
        assert shown.startswith("tile 3, row 0, column 0: ")
        value = float(shown.rpartition(" ")[2].replace("\N{MINUS SIGN}", "-"))
        reach = max(
            v.abs().max().item() for n, _, v in network.walk(data.val.inputs[image : image + 1]) if n == "conv2"
        )
        assert value == pytest.approx(expected[0, 0].item(), abs=0.006 * reach)
        for _ in range(3):
            grid.press("PageUp")
    page.close()


def opened(browser, path, width):
    """The page, offline; what it asks for or complains of fails the test."""
    trouble: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(f"file://{path}")
    page.wait_for_selector("body[data-ready]", timeout=30_000)
    assert not trouble
    return page


def load_lookers() -> dict:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(conf_dir() / "callbacks/inspect.yaml"))
