"""The slider over training time."""

import numpy as np
import pytest
import torch
from test_play import answer, draw, until

import cnnlab
from cnnlab.playground.write import play
from cnnlab.training.load import load_classifier


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A run that has kept snapshots."""
    output = tmp_path_factory.mktemp("watched")
    recipe = ["callbacks=snapshots", "callbacks.snapshots.count=5", "trainer=cpu", "trainer.max_epochs=2"]
    return cnnlab.fit([*recipe, "data.batch_size=32", f"output_dir={output}"])


@pytest.mark.slow
def test_the_answer_is_that_of_the_moment(watched, browser):
    files = sorted((watched.directory / "snapshots").iterdir())
    assert len(files) == 5
    page, errors = browser.new_page(offline=True, viewport={"width": 1200, "height": 900}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"file://{play(watched, 30)}")
    page.wait_for_selector("body.ready")
    draw(page, [(0.5, 0.1), (0.5, 0.9)])
    last, seen = answer(page), set()
    drawn = torch.tensor(page.evaluate("window.cnnlab.input().then((values) => [...values])"))
    call = "(values) => window.cnnlab.logits(Float32Array.from(values)).then((logits) => [...logits])"
    page.focus("#time")
    for file in files[::-1]:
        page.keyboard.press("ArrowLeft")
        step = int(file.stem[5:])
        words = f"after {step} step{'s' if step > 1 else ''}" if step else "before training"
        assert page.inner_text("#time-shown") == words
        seen.add(answer(page))
        classifier = load_classifier(file, watched.info["config_hash"])
        expected = classifier.network(drawn.view(1, 1, 28, 28)).detach()[0].numpy()
        assert np.abs(page.evaluate(call, drawn.tolist()) - expected).max() <= 1e-3 * np.abs(expected).max()
    assert len(seen) >= 3
    assert page.inner_text("#shown") == "your drawing"
    until(page, "document.getElementById('accuracy-intact').textContent.includes('of 30 pictures')")
    filters = page.locator("#layer-conv1 .grid").nth(2)
    assert "filters" in filters.inner_text()
    first = page.evaluate("document.querySelectorAll('#layer-conv1 .grid canvas[tabindex]')[2].toDataURL()")
    page.click("#time-play")
    until(page, "document.getElementById('time-shown').textContent === 'the kept checkpoint'")
    assert answer(page) == last
    assert page.evaluate("document.querySelectorAll('#layer-conv1 .grid canvas[tabindex]')[2].toDataURL()") != first
    assert not errors
    page.close()


@pytest.mark.slow
def test_where_not_all_have_room_some_are_left_out_in_between(watched, monkeypatch):
    monkeypatch.setattr("cnnlab.playground.snapshots.ROOM", 2 * 61_706 * 3)
    assert play(watched, 0).read_text().count('"tensors":') == 1 + 3
    monkeypatch.setattr("cnnlab.playground.snapshots.ROOM", 2 * 61_706 * 2)
    assert 'id="time"' not in play(watched, 0).read_text()
