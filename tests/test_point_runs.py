"""Points in the plane go the way of pictures: trained, resumed, looked at; what is for pictures says so in a line."""

import re

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_resume import fitted, same, what_counts

import cnnlab
from cnnlab.config.compose import conf_dir
from cnnlab.data.forms import Facts
from cnnlab.inspection.inspect import inspect
from cnnlab.inspection.pictures import figure
from cnnlab.inspection.regions import DecisionRegions, draw_regions, places, square, unit_maps
from cnnlab.training.classifier import Classifier

pytestmark = pytest.mark.slow

SMALL = ["data=points", "data.train_size=200", "data.test_size=100", "model=points_mlp", "trainer=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three epochs whose regions were drawn after each."""
    output = tmp_path_factory.mktemp("outputs")
    drawn = ["callbacks=[inspect,decision_regions]", "callbacks.decision_regions.every_n_epochs=1"]
    others = [f"~callbacks.{name}" for name in ("health", "mistakes", "embeddings", "filters")]
    return cnnlab.fit([*SMALL, *drawn, *others, "trainer.max_epochs=3", f"output_dir={output}"])


@pytest.fixture
def halves(composed):
    """A classifier without hidden layers that answers B where the first coordinate is above 0, and points of which the
    last is of A all the same."""
    model = composed("model=points_mlp", "model.remove=[fc1,fc2]")["model"]
    classifier = Classifier(model, (2,), ["A", "B"], [0.0, 0.0], [1.0, 1.0]).eval()
    with torch.no_grad():
        classifier.network.head.classifier.weight.copy_(torch.tensor([[-9.0, 0], [9, 0]]))
        classifier.network.head.classifier.bias.zero_()
    points = torch.tensor([[-0.9, 0.5], [0.9, -0.5], [-0.5, -0.9], [0.5, 0.9]])
    return classifier, points, torch.tensor([0, 1, 0, 0])


def test_regions_have_the_colour_of_the_answer_and_errors_are_counted(halves):
    classifier, points, labels = halves
    axes = figure(4, 4).add_subplot()
    assert draw_regions(axes, classifier, points, labels, 40) == 1
    shades = torch.from_numpy(axes.images[0].get_array())
    blue, orange = shades[:, 0, 2] - shades[:, 0, 0], shades[:, -1, 0] - shades[:, -1, 2]  # left and right edge
    assert (blue > 0.2).all()
    assert (orange > 0.2).all()
    assert tuple(axes.images[0].get_extent()) == square(points)
    marks = {found.get_label(): found.get_offsets().tolist() for found in axes.collections}
    assert [len(marks[name]) for name in ("is A", "is B", "is B, answered wrongly")] == [2, 1, 0]
    assert marks["is A, answered wrongly"] == [pytest.approx([0.5, 0.9])]


def test_places_go_row_by_row_from_the_top(halves):
    _, points, _ = halves
    at = places(points, 10).view(10, 10, 2)
    assert at[0, 0].tolist() == pytest.approx([-0.891, 0.891])
    assert at[0, -1].tolist() == pytest.approx([0.891, 0.891])
    assert at[-1, 0].tolist() == pytest.approx([-0.891, -0.891])


def test_a_units_map_is_what_it_gives_at_each_place(run):
    classifier = run.classifier()
    at = places(torch.tensor([[-1.0, -1], [1, 1]]), 5)
    maps = unit_maps(classifier, at)
    assert list(maps) == ["fc1", "fc2"]
    with torch.no_grad():
        first = classifier.network.fc1(classifier.network.input(at[7:8]))
    assert maps["fc1"][:, 0, 1, 2].tolist() == pytest.approx(first[0].tolist())


def test_a_film_shows_the_regions_while_they_form(run):
    folder = run.directory / "decision_regions"
    frames = sorted(path.name for path in folder.glob("*.png"))
    assert frames == [f"epoch_000{n}.png" for n in range(4)]
    assert len({(folder / name).read_bytes() for name in frames}) == 4
    with Image.open(folder / "film.gif") as film:
        assert film.n_frames == 4
    events = EventAccumulator(str(run.directory), {"images": 0}).Reload()
    assert [event.step for event in events.Images("decision_regions/regions")] == [0, 2, 4, 6]  # two steps an epoch
    assert {"decision_regions/units of fc1", "decision_regions/units of fc2"} < set(events.Tags()["images"])


def test_lookers_for_pictures_are_left_out_in_a_line(run, capsys, browser):
    lookers = OmegaConf.to_container(OmegaConf.load(conf_dir() / "callbacks/inspect.yaml"))
    page = inspect(run, lookers)
    left = {f"{name} left out: it looks at pictures and sentences" for name in ("features", "saliency")}
    assert left <= set(capsys.readouterr().out.splitlines())
    shown = browser.new_page(offline=True)
    shown.goto(f"file://{page}")
    assert shown.locator("section h2").all_inner_texts() == [
        "Input", "fc1", "fc2", "head", "What the network gets wrong",
        "How well a linear classifier reads each layer", "What it answers where", "How it arranges the images",
    ]  # fmt: skip
    assert re.search(r"[AB], taken for [AB], .* sure: \(-?[\d.]+, -?[\d.]+\)", shown.locator("#mistakes").inner_text())
    with pytest.raises(ValueError, match=r"^callbacks.saliency left out: it looks at pictures and sentences$"):
        inspect(run, {"saliency": lookers["saliency"]})


def test_regions_are_left_out_of_pictures(tmp_path, capsys):
    run = cnnlab.fit(["model=softmax", "callbacks=inspect", "trainer.max_epochs=1", f"output_dir={tmp_path}",
                      *(f"~callbacks.{name}" for name in ("features", "saliency", "health", "mistakes"))])  # fmt: skip
    assert capsys.readouterr().out.count("DecisionRegions left out: it looks at points in the plane\n") == 1
    assert not (run.directory / "decision_regions").exists()
    assert EventAccumulator(str(run.directory), {"images": 0}).Reload().Images("filters/head/weights")


def test_what_is_for_pictures_is_refused_in_a_line(run, command):
    for request, message in {
        "robustness": f"robustness: pictures and sounds can be distorted, and {run.directory} takes points",
        "play": "play shows pictures, and data=points holds points",
        "predict images=x.csv": "images=x.csv: examples of data=points are in no files; give Run.predict a tensor",
    }.items():
        name, *more = request.split()
        done = command(name, f"run={run.directory}", *more)
        assert (done.status, done.stderr) == (1, f"cnnlab: {message}\n")


def test_points_in_memory_are_answered_tested_and_exported(run):
    points = torch.tensor([[0.5, 0.5], [0.5, -0.5], [1e3, 0.0]])
    answers = run.predict(points)
    logits = run.classifier().network(points)
    assert [row["label"] for row in answers] == [run.classes[i] for i in logits.argmax(1).tolist()]
    assert run.predict(points[0])[0]["probability"] == pytest.approx(answers[0]["probability"], abs=1e-6)
    with pytest.raises(ValueError, match="points are 3x1, and this network takes Nx2"):
        run.predict(points[:, :1])
    assert run.evaluate()["test/acc"] == pytest.approx(run.metrics["test/acc"])
    assert run.evaluate(["data=points", "data.kind=moons"])["images"] == 1000
    assert [row["lesion"] for row in run.evaluate(lesion="each")] == ["none", "fc1", "fc2"]


def test_a_stopped_run_ends_bit_identical(tmp_path):
    points = ["data=points", "model=points_mlp", "augment=none"]
    never, stopped = (fitted(tmp_path / f"{len(s)}", *points, stops=s) for s in ((), (3, 5)))
    same(what_counts(never), what_counts(stopped))


def test_two_processes_agree_with_one_and_look_once(tmp_path):
    common = [*SMALL[:-1], "precision=64-true", "trainer.max_epochs=2", "optimizer=sgd"]
    common += ["callbacks=inspect", "~callbacks.embeddings", "~callbacks.probe"]
    one, two = (cnnlab.fit([*common, f"trainer={t}", f"output_dir={tmp_path}/{t}"]) for t in ("cpu", "ddp_cpu"))
    assert two.info["world_size"] == 2
    for name, weight in one.network("last").state_dict().items():
        assert torch.allclose(weight, two.network("last").state_dict()[name], rtol=0, atol=1e-10), name
    assert one.metrics["test/loss"] == pytest.approx(two.metrics["test/loss"], abs=1e-6)
    events = EventAccumulator(str(two.directory)).Reload()
    assert len(events.Images("filters/fc1/weights")) == 1
    assert len({path.name.split(".")[-2] for path in two.directory.glob("events.out.tfevents.*")}) == 1  # process


def test_other_shapes_are_no_points():
    looker = DecisionRegions()
    assert looker.misfit(Facts((2,), 7)) is None
    for facts in (Facts((3,), 2), Facts((1, 28, 28), 10), Facts((2,), 2, ("a", "b"))):
        assert looker.misfit(facts) == "points in the plane"
