"""Two networks on one page."""

import numpy as np
import pytest
import torch
from test_play import draw, until

import cnnlab
from cnnlab.playground.write import play


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    """A run whose network lacks a layer."""
    output = tmp_path_factory.mktemp("ablated")
    recipe = ["model.remove=[conv2]", "trainer=cpu", "trainer.max_epochs=1", "data.batch_size=32"]
    return cnnlab.fit([*recipe, f"output_dir={output}"])


@pytest.mark.slow
def test_each_answers_as_its_run_does(digits_run, ablated, browser):
    written = play(digits_run, 30, ablated)
    assert written.name == f"with-{ablated.directory.name}.html"
    page, errors = browser.new_page(offline=True, viewport={"width": 1200, "height": 900}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"file://{written}")
    page.wait_for_selector("body.ready")
    assert page.inner_text("#h-answer-b") == "lenet5 without conv2"
    draw(page, [(0.5, 0.1), (0.5, 0.9)])
    page.wait_for_timeout(300)
    images = torch.randint(0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = torch.tensor(page.evaluate("window.cnnlab.input().then((values) => [...values])")).view(1, 1, 28, 28)
    call = "([values, n]) => window.cnnlab.logits(Float32Array.from(values), null, n).then((logits) => [...logits])"
    for network, run, suffix in ((0, digits_run, ""), (1, ablated, "-b")):
        expected = run.classifier().logits(images)[0].numpy()
        given = page.evaluate(call, [(images.float() / 255).flatten().tolist(), network])
        assert np.abs(given - expected).max() <= 1e-3 * np.abs(expected).max()
        probabilities = run.network()(drawn).detach().softmax(1)[0]
        assert page.inner_text(f"#answer{suffix}") == str(int(probabilities.argmax()))
        assert abs(float(page.inner_text(f"#sureness{suffix}").strip("% ")) - 100 * float(probabilities.max())) < 0.1
        until(page, f"document.getElementById('accuracy-intact{suffix}').textContent.includes('of 30 pictures')")
    assert page.locator("#layer-conv2").is_visible()
    assert page.locator("#layer-b-conv2").count() == 0
    page.click("#layer-conv2 header button")
    until(page, "document.getElementById('accuracy-silenced').textContent.includes('of 30 pictures')")
    page.locator("input[name=which]").nth(1).check()
    assert not page.locator("#layer-conv2").is_visible()
    assert not page.locator("#silent").is_visible()  # what was silenced speaks again
    page.click("#layer-b-fc3 header button")
    until(page, "document.getElementById('accuracy-silenced-b').textContent.includes('of 30 pictures')")
    assert page.inner_text("#intact-answer") == ""
    assert page.inner_text("#intact-answer-b").startswith("intact: ")
    for width in (400, 900, 2000):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not errors
    page.close()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data=xo", "model=xo_cnn", "data.train_size=64", "data.test_size=64"], "inputs, [1, 28, 28] and [1, "),
        (["data.permute_pixels=true"], "how pictures are prepared"),
    ],
)
def test_networks_that_cannot_take_the_same_drawing_are_refused(digits_run, tmp_path, overrides, says):
    other = cnnlab.fit([*overrides, "trainer=cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"])
    with pytest.raises(ValueError, match="the networks differ in ") as refusal:
        play(digits_run, 30, other)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(digits_run.directory.glob(f"play/with-{other.directory.name}.html"))
