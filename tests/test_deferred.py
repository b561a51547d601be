"""What a training does not need is not run, and whoever uses it gets it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = (
    "matplotlib",
    "scipy.signal._signaltools",
    "sympy.core",
    "torch._dynamo.symbolic_convert",
    "torch._inductor.utils",
    "torch.distributed.tensor",
    "torchmetrics.functional.image.arniqa",
    "torchvision",
)


def python(code: str, *arguments: str, cwd=None) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["cnnlab.summary", "cnnlab.train trainer.max_epochs=1"])
def test_neither_a_table_nor_a_training_runs_what_it_does_not_use(command, tmp_path):
    module, *arguments = command.split()
    code = f"""
import runpy, sys
runpy.run_module({module!r}, run_name="__main__")
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert python(code, *arguments, cwd=tmp_path).splitlines()[-1] == "[]"


def test_all_of_it_works_once_it_is_used():
    code = """
import cnnlab
import torch
import torchmetrics
from lightning.fabric.wrappers import OptimizedModule
from lightning.pytorch import LightningModule
from torchmetrics.functional.image import structural_similarity_index_measure

image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
assert torch.isclose(structural_similarity_index_measure(image, image), torch.tensor(1.0))
assert torch.isclose(torchmetrics.image.PeakSignalNoiseRatio(1.0)(image, image + 0.1), torch.tensor(20.0), atol=1e-3)
assert "LearnedPerceptualImagePatchSimilarity" in dir(torchmetrics.image)

accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=3)
accuracy.update(torch.eye(3), torch.arange(3))
figure, axes = accuracy.plot()
assert axes.lines or axes.collections

layer = torch.nn.Linear(2, 2)
assert not isinstance(layer, OptimizedModule)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
optimizer.zero_grad()  # torch keeps this function, disabled by the stand-in
compiled = torch.compile(layer, backend="eager")
assert isinstance(compiled, OptimizedModule)
compiled(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
assert torch._dynamo.config.recompile_limit > 0

import scipy.signal
assert scipy.signal.convolve([1, 2], [3, 4]).tolist() == [3, 10, 8]
import sympy
assert sympy.diff("x**2", "x") == 2 * sympy.Symbol("x")
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch._subclasses import FakeTensorMode
with FakeTensorMode(shape_env=ShapeEnv()):
    assert torch.nn.functional.conv2d(torch.empty(1, 1, 5, 5), torch.empty(2, 1, 3, 3)).shape == (1, 2, 3, 3)
"""
    python(code)


def test_what_is_imported_already_stays_as_it_is():
    python("import torch._dynamo; import cnnlab; assert type(torch._dynamo) is type(torch)")


def test_a_module_that_cannot_run_says_why_every_time(tmp_path):
    (tmp_path / "broken.py").write_text("import nowhere")
    code = """
import sys
from cnnlab import deferred
deferred.STAND_INS["broken"] = {"known": 1}
import broken
assert broken.known == 1
for _ in range(2):
    try:
        broken.other
    except ModuleNotFoundError as error:
        assert error.name == "nowhere"
    else:
        raise AssertionError
"""
    python(code, cwd=tmp_path)
