"""What the classifier answers."""

import torch

import cnnlab
from cnnlab.trained.evaluate import evaluate


def test_test_shift_answers_with_the_mean_over_views_moved_by_pixels(tmp_path):
    quick = ["data=xo_tricky", "model=mlp", "trainer=cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"]
    run = cnnlab.fit([*quick, "test_shift=1", "data.draw.translation=2"])
    classifier = run.classifier()
    images = torch.randint(0, 256, (40, 1, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images.float() / 255, (1, 1, 1, 1), mode="reflect")
    moved = [padded[:, :, i : i + 9, i : i + 9] for i in (0, 1, 2)]
    with torch.no_grad():
        mean = sum(classifier.network(view) for view in moved) / 3
    assert torch.allclose(classifier.logits(images), mean, atol=1e-5)
    assert not torch.allclose(classifier.network(images), mean, atol=1e-3)
    assert abs(evaluate(run)["test/loss"] - run.metrics["test/loss"]) < 1e-6


def test_test_flip_answers_with_the_mean_of_both_ways_in_test_and_use(tmp_path):
    quick = ["data=xo_tricky", "model=mlp", "trainer=cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"]
    run = cnnlab.fit([*quick, "test_flip=true", "data.draw.translation=2"])
    classifier = run.classifier()
    images = torch.randint(0, 256, (40, 1, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        both = (classifier.network(images) + classifier.network(images.flip(-1))) / 2
    assert torch.allclose(classifier.logits(images), both, atol=1e-6)
    assert not torch.allclose(classifier.network(images), both, atol=1e-3)
    assert abs(evaluate(run)["test/loss"] - run.metrics["test/loss"]) < 1e-6
