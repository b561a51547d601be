"""Every kind of network that ships leaves cnnlab as ONNX and torch.export and answers the same."""

import numpy as np
import pytest
import torch
from shipped import VARIED, usual_input

from cnnlab.trained.export import OnnxNetwork, export, write
from cnnlab.training.classifier import Classifier

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", VARIED)
def test_every_kind_of_model_exports_with_any_batch_size(composed, model, tmp_path):
    shape, classes = usual_input(model)
    config = composed(f"model={model}", *VARIED[model])["model"]
    names = [str(c) for c in range(classes)]
    network = Classifier(config, shape, names, [0.4] * shape[0], [0.3] * shape[0]).network.eval()
    images = torch.rand(7, *shape)
    for path, answer in write(network, images, tmp_path, model).items():
        for count in (1, 3, 7):
            with torch.inference_mode():
                given, expected = answer(images[:count]), network(images[:count])
            assert given.shape == (count, classes)
            assert (given - expected).abs().max() <= 1e-5 * expected.abs().max(), path


def test_a_run_exports_normalisation_and_all_and_is_checked_on_real_images(digits_run, tmp_path):
    found = export(digits_run, tmp_path)
    assert set(found) == {"onnx", "pt2"}
    path, difference = found["onnx"]
    assert difference <= 1e-5
    image = np.random.default_rng(0).random((2, 1, 28, 28), dtype=np.float32)
    with torch.inference_mode():
        expected = digits_run.network()(torch.from_numpy(image))
    assert np.allclose(OnnxNetwork(path)(torch.from_numpy(image)), expected, atol=1e-4)


def test_an_export_that_differs_is_refused(digits_run, tmp_path, monkeypatch):
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, images: torch.zeros(len(images), 10))
    with pytest.raises(ValueError, match="differs from the checkpoint by 1"):
        export(digits_run, tmp_path)
