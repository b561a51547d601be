"""The page of a run, as people use it in a browser."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from zoo import filled

from cnnlab.data.forms import Facts
from cnnlab.data.images import read_input
from cnnlab.playground.content import content
from cnnlab.playground.store import in_16_bits, rounded
from cnnlab.playground.write import play
from cnnlab.trained.silence import parse, silenced, validation_means

MINUS = "\u2212"


@pytest.fixture(scope="module")
def written(digits_run):
    return play(digits_run, 30)


@pytest.fixture
def page(written, browser):
    asked, errors = [], []
    page = browser.new_page(offline=True, viewport={"width": 1200, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(f"file://{written}")
    page.wait_for_selector("body.ready")
    yield page
    page.close()
    assert not errors
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)


def draw(page, points):
    box = page.locator("#canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def until(page, holds: str):
    """Wait until an expression holds; the page's policy forbids what Playwright's own waiting does."""
    for _ in range(200):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise TimeoutError(holds)


def answer(page) -> str:
    """The answer once it has been still."""
    before = None
    while before != (before := page.inner_text("#answer") + page.inner_text("#sureness")):
        page.wait_for_timeout(150)
    return before


def test_a_drawing_is_answered_while_it_is_drawn(page):
    before = answer(page)
    draw(page, [(0.5, 0.1), (0.5, 0.9)])
    assert page.inner_text("#shown") == "your drawing"
    assert answer(page) != before
    assert page.inner_text("#answer") == "1"
    page.click("#undo")
    assert page.locator("#sureness").inner_text() != ""
    page.focus("#canvas")
    for key in [" ", *["ArrowDown"] * 6, " "]:
        page.keyboard.press(key)
    drawn = page.evaluate(
        "new Set(document.getElementById('canvas').getContext('2d').getImageData(0,0,200,200).data).size"
    )
    assert drawn > 2


def test_the_answer_is_that_of_the_run(page, digits_run, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "mine.png")
    page.set_input_files("#file", tmp_path / "mine.png")
    until(page, "document.getElementById('shown').textContent === 'mine.png'")
    row = digits_run.predict(tmp_path / "mine.png")[0]
    assert answer(page) == f"{row['label']}{100 * row['probability']:.1f} %"
    expected = read_input(tmp_path / "mine.png", Facts((1, 28, 28), 10), digits_run.config["data"]).flatten().numpy()
    given = page.evaluate("window.cnnlab.input().then((values) => [...values])")
    assert np.abs(np.array(given) * 255 - expected).max() < 1.01  # half a step where both round


def test_choosing_and_counting(page, digits_run):
    page.check("#pictures label:nth-child(4) input", force=True)
    assert re.fullmatch(r"validation picture \d+, 3", page.inner_text("#shown"))
    until(page, "document.getElementById('accuracy-intact').textContent.includes('of 30 pictures')")
    described, store = content(digits_run, 30)
    pictures = described["pictures"]
    size = 28 * 28
    images = np.frombuffer(store.bytes, np.uint8)[pictures["start"] :][: 30 * size].reshape(30, 1, 28, 28)
    hits = digits_run.classifier().logits(torch.tensor(images)).argmax(1) == torch.tensor(pictures["labels"])
    assert f"{int(hits.sum())} of 30 pictures" in page.inner_text("#accuracy-intact")


@pytest.mark.parametrize(
    ("by", "layers"),
    [("mean", ["conv2"]), ("zero", ["conv1:0", "conv1:3", "pool2"]), ("mean", ["fc3:5", "fc4"]), ("zero", ["fc3"])],
)
def test_what_is_silenced_is_what_evaluate_silences(page, digits_run, by, layers):
    classifier = digits_run.classifier()
    targets = parse(classifier.network, layers)
    images = torch.randint(0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with silenced(classifier, targets, by, validation_means(digits_run, classifier)):
        expected = classifier.logits(images)[0].numpy()
    values = (images.float() / 255).flatten().tolist()
    given = page.evaluate(
        "([values, silence]) => window.cnnlab.logits(Float32Array.from(values), silence).then((logits) => [...logits])",
        [values, {"by": by, "layers": targets}],
    )
    assert np.abs(given - expected).max() <= 1e-3 * np.abs(expected).max()


def test_silencing_by_hand_and_back(page):
    before = answer(page)
    page.click("#layer-conv2 header button")
    until(page, "document.getElementById('accuracy-silenced').textContent.includes('of 30 pictures')")
    assert page.inner_text("#intact-answer").startswith("intact: ")
    page.click("text=what they read")  # conv2 makes other shapes of what it reads
    assert "conv2" in page.inner_text("#trouble") or "pool2" in page.inner_text("#trouble")
    page.click("text=zero")
    assert page.inner_text("#trouble") == ""
    page.click("#all-speak")
    assert answer(page) == before
    page.focus("#layer-conv1 canvas[tabindex]")
    page.keyboard.press("Enter")
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#layer-conv1 .value .sum")
    assert "map 1, row 0, column 1" in page.inner_text("#layer-conv1 .value")
    page.click("#layer-conv1 .value button.channel")
    assert page.inner_text("#silent-list").startswith("conv1: 1")


def test_where_a_value_comes_from_adds_up(page, digits_run):
    page.focus("#layer-fc3 .grid:nth-child(2) canvas[tabindex]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#layer-fc3 .value table")
    head, *lines = page.locator("#layer-fc3 .value p").all_inner_texts()
    value = number(head.rpartition(": ")[2])
    assert abs(np.tanh(number(lines[-1].split(" of ")[1].split(" =")[0])) - value) < 0.006
    these, rest = (
        number(part) for part in re.search(rf"these (\S+), the other 388 ([+{MINUS}] \S+),", lines[1]).groups()
    )
    bias, total = re.search(rf"bias ([+{MINUS}] \S+), together (\S+)", lines[1]).groups()
    assert abs(these + rest + number(bias) - number(total)) < 0.02


def number(text: str) -> float:
    return float(text.replace(MINUS, "-").replace(" ", ""))


@pytest.mark.parametrize("width", [400, 880, 2000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_everything_has_a_name(written, browser, width, scheme):
    page = browser.new_page(offline=True, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(f"file://{written}")
    page.wait_for_selector("body.ready")
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, canvas[tabindex]")].filter((one) =>
           !one.getAttribute("aria-label") && !(one.closest("label") ?? one).textContent.trim()).length"""
    )
    assert nameless == 0
    page.close()


def test_the_file_is_small_and_holds_what_it_says(written):
    text = written.read_text()
    assert len(text) < 1_000_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src &#39;none&#39;")
    assert "http" not in policy
    described = json.loads(re.search(r'id="network">(.*?)</script>', text)[1])
    assert len(described["pictures"]["labels"]) == 30


def test_16_bits_are_nearer_than_half_precision():
    torch.manual_seed(0)
    values = torch.randn(40, 300)
    whole, factors = in_16_bits(values)
    assert (whole.dtype, factors.shape) == (torch.int16, (40,))
    coarse, half = (rounded(values) - values).std(), (values.half().float() - values).std()
    assert coarse < half / 5


@pytest.mark.slow
def test_a_closed_network_is_refused_in_one_line_before_a_file_is_written(command, tmp_path):
    assert command("train", "model=torchvision", "model.arch=squeezenet1_1", "data=xo", "data.resize=32",
                   "data.train_size=64", "data.test_size=64", "trainer.max_epochs=1", "trainer=cpu",
                   "hydra.run.dir=run").status == 0  # fmt: skip
    done = command("play", "run=run")
    assert done.status == 1
    assert done.stderr.startswith("cnnlab: net: the page cannot compute torchvision.models.squeezenet.SqueezeNet")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run/play").exists()


@pytest.mark.slow
def test_given_weights_without_pictures(command, browser, tmp_path):
    torch.save(filled("squeezenet1_1").state_dict(), tmp_path / "weights.pth")
    done = command("play", "model=squeezenet", "init_from=weights.pth")
    assert done.status == 0, done.stderr
    (path,) = tmp_path.glob("outputs/given/squeezenet-*/play/index.html")
    assert f"page         {path.relative_to(tmp_path)} (3." in done.stdout
    page = browser.new_page(offline=True)
    page.goto(f"file://{path}")
    page.wait_for_selector("body.ready")
    assert page.locator("#bars tr").count() == 5
    assert not page.locator("#chooser").is_visible()
    page.click("#layer-conv1 header button")
    assert not page.locator("input[value=mean]").is_visible()  # there is no picture to take a mean of
    assert page.locator("input[value=zero]").is_checked()
    page.close()
