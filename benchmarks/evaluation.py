"""Time classifying the test images of MNIST, as evaluate, predict and robustness do, and the best plain loop.

python benchmarks/evaluation.py
"""

import contextlib
import io
import tempfile
from statistics import median
from time import perf_counter

import torch
from yardsticks import networks, tuned

import cnnlab
from cnnlab.trained.load import load_test

ROUNDS = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        quick = ["data=mnist", "trainer=cpu", "trainer.max_epochs=1", "+trainer.limit_train_batches=5"]
        with contextlib.redirect_stdout(io.StringIO()):
            run = cnnlab.fit([*quick, f"output_dir={folder}"])
        classifier, images, _ = load_test(run, run.config["data"])
        pairs = []
        for _ in range(ROUNDS):
            started = perf_counter()
            classifier.logits(images, 500)
            pairs.append((perf_counter() - started, tuned.evaluation(networks.lenet5, images, 500)))
    ours, theirs = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(a / b for a, b in pairs)
    print(f"{len(images):,} images, {torch.get_num_threads()} threads")
    print(f"cnnlab {ours:.3f} s, best loop {theirs:.3f} s, {ratio:.2f} times")


if __name__ == "__main__":
    main()
