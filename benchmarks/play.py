"""Measure pages of `python -m cnnlab.play`: milliseconds of a prediction in Chromium, and size of the file.

python benchmarks/play.py [MODEL ...]

The engine's matrix product runs in WebAssembly, then in JavaScript. The page has 300 images of noise, which does not
compress.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from cnnlab.config.compose import compose, plain
from cnnlab.models.network import Network
from cnnlab.playground.describe import describe
from cnnlab.playground.write import html

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from shipped import usual_input

MODELS = ("lenet5", "mnist_cnn", "alexnet_cifar", "resnet20", "densenet40")
TIMED = """async (seconds) => {
  const input = await window.cnnlab.input(), times = [];
  const until = performance.now() + 1000 * seconds;
  while (performance.now() < until || times.length < 3) {
    const began = performance.now();
    await window.cnnlab.logits(input);
    times.push(performance.now() - began);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}"""


def page_of(model: str, path: Path) -> None:
    """Write the page of a shipped network with its initial weights."""
    shape, classes = usual_input(model)
    network = Network(plain(compose("train", [f"model={model}"])[0])["model"], shape, classes,
                      mean=[0.4] * shape[0], std=[0.3] * shape[0]).eval()  # fmt: skip
    images = torch.randint(0, 256, (300, *shape), dtype=torch.uint8)
    described, store = describe(network, images[:20], {})
    pictures = {"start": store.add(images.numpy()), "labels": [0] * 300, "names": ["noise"] * 300}
    prepare = {"own": list(shape[1:]), "resize": None, "crop": None, "trim": 0, "order": None, "paper": 0}
    about = {"title": model, "lead": "", "classes": [str(c) for c in range(classes)]}
    path.write_text(html(about | described | {"pictures": pictures, "prepare": prepare}, store), encoding="utf-8")


def main() -> None:
    print("| | WebAssembly, ms | JavaScript, ms | file, MB |\n| --- | --- | --- | --- |")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for model in sys.argv[1:] or MODELS:
            path = Path(folder, f"{model}.html")
            page_of(model, path)
            page = browser.new_page()
            page.goto(f"file://{path}")
            page.wait_for_selector("body.ready")
            while "of 300" not in page.inner_text("#accuracy-intact"):  # until the page computes nothing else
                page.wait_for_timeout(100)
            fast = page.evaluate(TIMED, 3)
            page.evaluate("window.cnnlab.restart(false)")
            slow = page.evaluate(TIMED, 3)
            print(f"| {model} | {fast:.1f} | {slow:.0f} | {path.stat().st_size / 1e6:.1f} |", flush=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
