"""The lessons' pages in a browser: their numbers are the lectures' and PyTorch's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cnnlab.models.activations import ACTIVATIONS
from cnnlab.models.network import Network
from cnnlab.playground.curves import curve
from cnnlab.playground.lesson import LESSONS

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = json.loads((Path(__file__).parents[1] / "models/worked_examples.json").read_text())


def numbers(page, caption: str) -> Tensor:
    """The values of the shown table whose caption begins so."""
    read = """(caption) => [...document.querySelectorAll("table.numbers")]
      .find((table) => !table.closest("[hidden]") && table.caption.textContent.startsWith(caption))
      .rows"""
    values = (
        f"(caption) => [...({read})(caption)].map((row) => [...row.cells].map((cell) => Number(cell.dataset.value)))"
    )
    return torch.tensor(page.evaluate(values, caption))


def equal(given: Tensor, expected) -> bool:
    return given.shape == torch.as_tensor(expected).shape and torch.allclose(
        given.double(), torch.as_tensor(expected).double(), atol=1e-4
    )


def enter(page, label: str, value) -> None:
    page.get_by_label(label, exact=True).fill(str(value))


@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (2000, "dark")])
def test_nothing_sticks_out_and_everything_has_a_name(lesson, name, width, scheme):
    page = lesson(name, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.locator("#lesson > *").count() > 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, select")].filter((one) =>
           !one.getAttribute("aria-label") && !(one.closest("label") ?? one).textContent.trim()).length"""
    )
    assert nameless == 0
    for button in page.get_by_role("button").all():
        button.click()


def test_lessons_by_command(command, tmp_path):
    done = command("play", "lesson=convolution")
    assert done.status == 0, done.stderr
    assert done.stdout == "page         outputs/lessons/convolution.html, to be opened in a browser\n"
    assert "://" not in (tmp_path / "outputs/lessons/convolution.html").read_text()
    done = command("play", "lesson=convolutoin")
    assert (done.status, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith('cnnlab: unknown lesson "convolutoin"; did you mean "convolution"')
    done = command("play", "lesson=golf")
    assert f"known: {', '.join(LESSONS)}" in done.stderr
    assert command("play", "lesson=convolution", "run=run").stderr.startswith(
        "cnnlab: lesson=convolution and run=run: "
    )


def test_the_curves_of_all_activations(command, tmp_path):
    done = command("play", "lesson=activations")
    assert done.stdout.splitlines()[0] == "picture      outputs/lessons/activations.svg"
    for path in (tmp_path / "outputs/lessons/activations.svg", DOCS / "activations.svg"):  # which is such a picture
        drawn = path.read_text()
        assert all(f">{name.replace('_', ' ')}</text>" in drawn for name in ACTIVATIONS), path
    x, y, slope = curve("softplus")  # whose derivative is the logistic function
    assert torch.allclose(torch.tensor(slope), torch.tensor(x).sigmoid(), atol=1e-6)
    assert torch.allclose(torch.tensor(y), F.softplus(torch.tensor(x)), atol=1e-6)
    _, _, slope = curve("selu")
    assert slope[-1] == pytest.approx(1.0507, abs=1e-4)


def test_a_picture_through_a_kernel(command, tmp_path, browser):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    done = command("play", "lesson=convolution", "picture=noise.png", "kernel=[[0,1,0],[1,2,1],[0,1,0]]")
    assert done.stdout.splitlines()[0] == "picture      outputs/lessons/noise-given.png"
    written = np.asarray(Image.open(tmp_path / "outputs/lessons/noise-given.png")).astype(float)
    x = np.pad(pixels / 255, ((1, 1), (1, 1), (0, 0)))
    wanted = (2 * x[1:-1, 1:-1] + x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]) / 6
    assert np.abs(written - 255 * wanted).max() <= 0.51
    page = browser.new_page(offline=True)
    page.goto(f"file://{tmp_path}/outputs/lessons/convolution.html")
    assert numbers(page, "input").shape == (20, 28)
    assert equal(numbers(page, "kernel"), [[0, 1, 0], [1, 2, 1], [0, 1, 0]])
    seen, kernel = numbers(page, "input"), torch.tensor([[0.0, 1, 0], [1, 2, 1], [0, 1, 0]])
    assert equal(numbers(page, "output"), F.conv2d(seen[None, None].float(), kernel[None, None])[0, 0])
    page.close()


def test_convolution_has_the_lectures_numbers(lesson):
    page = lesson("convolution")
    assert equal(numbers(page, "input"), EXAMPLES["x_image"])
    for name in EXAMPLES["filters"]:
        page.get_by_label("kernel", exact=True).select_option(name)
        assert equal(numbers(page, "kernel"), EXAMPLES["filters"][name])
        assert equal(numbers(page, "output"), EXAMPLES["x_feature_maps"][name])
    page.get_by_label("divided by n", exact=False).uncheck()
    page.get_by_label("picture", exact=True).select_option("face")
    page.get_by_label("kernel", exact=True).select_option("face detector")
    assert equal(numbers(page, "output"), EXAMPLES["face_feature_map"])
    page.get_by_text("4", exact=True).last.click()  # where the face is
    assert page.inner_text("#sum").startswith("row 3, column 1: 0·0 + 0·0 + 1·1 + 1·1 + ")
    assert page.inner_text("#sum").endswith("= 4")
    page.get_by_label("picture", exact=True).select_option("curve")
    page.get_by_label("kernel", exact=True).select_option("curve")
    assert equal(numbers(page, "output"), [[EXAMPLES["curve_response"]]])
    for name, kernel in EXAMPLES["kernels"].items():
        page.get_by_label("kernel", exact=True).select_option(name)
        assert equal(numbers(page, "kernel"), kernel)


@pytest.mark.parametrize("turned", [False, True])
def test_convolution_of_any_numbers_is_pytorchs(lesson, turned):
    page = lesson("convolution")
    torch.manual_seed(turned)
    size = 4
    enter(page, "kernel size", size)
    kernel, picture = (torch.randint(-20, 20, (1, 1, n, n)) / 8 for n in (size, 9))
    for name, values in (("kernel", kernel), ("input", picture)):
        for y, row in enumerate(values[0, 0].tolist()):
            for x, value in enumerate(row):
                if (x + y) % 3 == 0:
                    page.get_by_label(f"{name}, row {y}, column {x}", exact=True).fill(str(value))
        assert equal(numbers(page, name)[::3, ::3], values[0, 0, ::3, ::3])
    kernel, picture = (numbers(page, name)[None, None] for name in ("kernel", "input"))
    if turned:
        page.get_by_label("turned by half", exact=False).check()
        kernel = kernel.flip(2, 3)
    for stride, padding in ((1, 0), (2, 1), (3, 0), (4, 3)):
        enter(page, "stride", stride)
        enter(page, "padding", padding)
        assert equal(numbers(page, "output"), F.conv2d(picture, kernel, stride=stride, padding=padding)[0, 0] / size**2)
        assert ("does not fit" in page.inner_text("#formula")) == bool((9 - size + 2 * padding) % stride)


def test_stepping_through_a_convolution(lesson, tmp_path):
    page = lesson("convolution")
    framed = """[...document.querySelectorAll("td.framed")].map((cell) =>
      [cell.closest("table").caption.textContent, cell.parentElement.rowIndex, cell.cellIndex])"""
    page.get_by_role("button", name="Step").click()
    cells = page.evaluate(framed)
    assert [cell[1:] for cell in cells if cell[0] == "input"] == [[y, x] for y in range(3) for x in range(1, 4)]
    assert [cell[1:] for cell in cells if cell[0] == "output"] == [[0, 1]]
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Back").click()
    assert [cell[1:] for cell in page.evaluate(framed) if cell[0] == "output"] == [[6, 6]]
    page.get_by_role("button", name="First").click()
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(1000)
    assert page.get_by_role("button", name="Pause").count() == 1
    assert [cell[2] for cell in page.evaluate(framed) if cell[0] == "output"].pop() in (1, 2, 3)


def test_a_picture_file_is_convolved(lesson, tmp_path):
    from PIL import Image

    Image.new("RGB", (60, 30), (255, 0, 0)).save(tmp_path / "red.png")
    page = lesson("convolution")
    page.get_by_label("kernel", exact=True).select_option("blur")
    page.set_input_files("input[type=file]", tmp_path / "red.png")
    for _ in range(50):
        if page.locator("table.numbers.small").count():
            break
        page.wait_for_timeout(50)
    assert equal(numbers(page, "input"), torch.full((14, 28), 0.299))
    assert equal(numbers(page, "output"), torch.full((10, 24), 0.299 * 9 / 25))


def test_the_x_and_o_network_has_the_slides_numbers(lesson):
    page = lesson("xo")
    assert equal(numbers(page, "input"), EXAMPLES["x_image"])
    for name, kernel in EXAMPLES["filters"].items():
        assert equal(numbers(page, f"filter {name}"), kernel)
        assert equal(numbers(page, f"mean of the products, {name}"), EXAMPLES["x_feature_maps"][name])
        assert equal(numbers(page, f"ReLU, {name}"), torch.tensor(EXAMPLES["x_feature_maps"][name]).relu())
        assert equal(numbers(page, f"pooled, {name}"), EXAMPLES["x_pooled"][name])
        assert equal(numbers(page, f"pooled again, {name}"), EXAMPLES["x_pooled_twice"][name])
    assert equal(numbers(page, "votes"), [[1, 5 / 9]])
    assert page.inner_text("#answer") == "X 1, O 0.556: it is an X"


def test_the_x_and_o_network_is_the_model_file_on_any_picture(lesson, composed):
    network = Network(composed("model=xo_slides")["model"], (1, 9, 9), 2)
    page = lesson("xo")
    page.get_by_label("picture", exact=True).select_option("O")
    for y, x, value in [(0, 0, 1), (4, 4, -0.5), (2, 7, 0.25), (8, 3, 1)]:
        page.get_by_label(f"input, row {y}, column {x}", exact=True).fill(str(value))
    with torch.no_grad():
        given = {name: values[0] for name, _, values in network.walk(numbers(page, "input")[None, None])}
    for caption, layer in (
        ("mean of", "mean1"),
        ("ReLU", "relu1"),
        ("pooled,", "pool1"),
        ("pooled a", "pool2"),
    ):
        assert equal(numbers(page, caption), given[layer][0])  # the first of three
    assert equal(numbers(page, "flatten"), given["flatten"][None])
    assert equal(numbers(page, "votes"), given["head"][None])


def test_stepping_through_the_x_and_o_network(lesson):
    page = lesson("xo")
    said = [page.inner_text("#sum")]
    for _ in range(5):
        page.get_by_role("button", name="Next layer").click()
        said.append(page.inner_text("#sum"))
    assert said[0].endswith("= 7, ÷ 9 = 0.778")
    assert said[1].endswith("max(0, 0.778) = 0.778")
    assert said[2].endswith("the largest of 0.778, 0, 0, 1 is 1")
    assert said[4].endswith("value 0 is row 0, column 0 of backslash: 1")
    assert said[5] == "votes: for X: 1·0.2 + 1·0.2 + 1·0.2 + 1·0.2 + 1·0.2 = 1"
    page.get_by_label("hide what is not computed yet").check()
    assert page.locator("td.later").count() == 1  # the vote for O
