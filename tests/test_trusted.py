"""`trusted_modules` are imported before a config's names are looked up, and never because a run directory says so."""

import shutil
import subprocess
import sys

import pytest
import torch
from children import forked
from PIL import Image
from torchmetrics.classification import MulticlassF1Score

import cnnlab
from cnnlab.config.compose import import_trusted
from cnnlab.reporting.report import report_runs
from cnnlab.runs.metrics import METRICS, Metric, make_metrics
from cnnlab.trained.evaluate import evaluate
from cnnlab.trained.run import Run

# a module that registers a layer kind, a loss and a data source, and leaves a file where it is imported
EXTRA = """
import torch
from pathlib import Path
from torch import nn
from cnnlab.data.examples import Examples, Splits
from cnnlab.data.sources import SOURCES, Source
from cnnlab.models.layers import layer
from cnnlab.models.losses import LOSSES

Path("imported").touch()
LOSSES["doubled"] = lambda outputs, labels: 2 * nn.functional.cross_entropy(outputs, labels)


@layer()
def negative(shape):
    return nn.Hardtanh(-1e3, 1e3)


def load(config):
    images = Examples(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).repeat(1, 1, 8, 8), torch.arange(40) % 2)
    return Splits(["even", "odd"], images, images)


SOURCES["greys"] = Source(load, lambda config: ((1, config["side"], config["side"]), 2))
"""
MODEL = "{name: mine, loss: doubled, layers: {a: {kind: negative}, head: {kind: classifier}}, remove: []}"
DATA = "{defaults: [/common/data@_here_, _self_], name: greys, side: 8, val_size: 10, batch_size: 10, epochs: 1}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with the module, configs, a picture, and a run trained with them."""
    folder = tmp_path_factory.mktemp("lab")
    for group, name, content in (("model", "mine", MODEL), ("data", "greys", DATA)):
        (folder / "conf" / group).mkdir(parents=True)
        (folder / "conf" / group / f"{name}.yaml").write_text(content)
    (folder / "extra.py").write_text(EXTRA)
    Image.new("L", (8, 8)).save(folder / "picture.png")
    done = forked("train", *MINE, "trusted_modules=[extra]", "hydra.run.dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


MINE = ["--config-dir", "conf", "model=mine", "data=greys", "trainer=cpu"]
REQUESTS = {
    "evaluate": ["run=run"],
    "export": ["run=run"],
    "inspect": ["run=run", "callbacks=none"],
    "predict": ["run=run", "images=picture.png"],
    "robustness": ["run=run", "distortions=[noise]"],
    "summary": MINE[:4],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
def test_a_command_knows_what_the_modules_register_that_it_is_told(lab, name):
    (lab / "imported").unlink(missing_ok=True)
    done = forked(name, *REQUESTS[name], cwd=lab)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "unknown" in done.stderr
    if name != "summary":
        assert "it was trained with trusted_modules=[extra], which has to be given again" in done.stderr
    assert not (lab / "imported").exists()
    done = forked(name, *REQUESTS[name], "trusted_modules=[extra]", cwd=lab)
    assert done.returncode == 0, done.stderr
    assert (lab / "imported").exists()


@pytest.mark.slow
def test_the_page_refuses_a_layer_kind_that_its_engine_does_not_know(lab):
    done = forked("play", "run=run", "trusted_modules=[extra]", cwd=lab)
    assert done.returncode == 1
    assert done.stderr.startswith("cnnlab: a: the page cannot compute torch.nn.modules.activation.Hardtanh")
    assert done.stderr.count("\n") == 1
    assert not (lab / "run/play").exists()


@pytest.mark.slow
def test_so_do_sweeps_their_workers_several_processes_and_resumed_runs(lab):
    mine = [*MINE, "trusted_modules=[extra]"]
    workers = ["-m", *mine, "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = subprocess.run([sys.executable, "-m", "cnnlab.train", *workers], cwd=lab, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for request in (["-m", *mine, "seed=2,3", "study.pack=2"], [*mine, "trainer=ddp_cpu"]):
        done = forked("train", *request, cwd=lab)
        assert done.returncode == 0, done.stderr
    shutil.copytree(lab / "run", lab / "longer")
    resumed = ["resume=longer", "trainer.max_epochs=2"]
    assert "unknown data source" in forked("train", *resumed, cwd=lab).stderr
    done = forked("train", *resumed, "trusted_modules=[extra]", cwd=lab)
    assert done.returncode == 0, done.stderr
    assert Run.load(lab / "longer").metrics["epochs"] == 2


@pytest.mark.slow
def test_what_a_run_directory_trusts_is_not_imported(command, digits_run, tmp_path, monkeypatch):
    run = tmp_path.parent / f"{tmp_path.name}-run"
    shutil.copytree(digits_run.directory, run)
    config = run / ".hydra/config.yaml"
    config.write_text(config.read_text().replace("trusted_modules: []", "trusted_modules: [extra]"))
    (tmp_path / "extra.py").write_text(EXTRA)
    monkeypatch.syspath_prepend(tmp_path)
    for request in (
        ["evaluate", f"run={run}"],
        ["robustness", f"run={run}", "distortions=[noise]"],
        ["report", f"runs=[{run}]", f"output={run}/report"],
        ["train", f"resume={run}", "trainer.max_epochs=3"],
        ["train", f"init_from={run}", "trainer.max_epochs=1"],
    ):
        assert command(*request).status == 0
    Run.load(run).network()
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("name", ["train", "summary", "evaluate", "inspect"])
def test_a_module_that_cannot_be_imported_is_refused_in_one_line(command, tmp_path, name):
    run = ["run=x"] if name in ("evaluate", "inspect") else []
    done = command(name, *run, "trusted_modules=[absent]")
    why = "trusted_modules: absent cannot be imported (ModuleNotFoundError: No module named 'absent')"
    assert (done.status, done.stderr) == (1, f"cnnlab: {why}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "cause"), [("x = y", "NameError: name 'y' is not defined"), ("x = (", "SyntaxError: '(' was never")]
)
def test_so_is_one_whose_own_code_fails(tmp_path, monkeypatch, content, cause):
    (tmp_path / "spoilt_module.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"\Atrusted_modules: spoilt_module cannot be imported .*\Z") as raised:
        import_trusted(["spoilt_module"])
    assert cause in str(raised.value)


@pytest.mark.parametrize("modules", ["os", 3, None, [3], {"os": 1}])
def test_so_is_what_is_no_list_of_names(modules):
    with pytest.raises(ValueError, match=r"trusted_modules is a list, such as \[my_package\]"):
        import_trusted(modules)


# --- the table of metrics


def test_a_metric_is_left_out_where_it_says_nothing():
    assert list(make_metrics(10)) == ["acc"]
    assert list(make_metrics(11)) == ["acc", "top5_acc"]


@pytest.mark.parametrize("classes", [10, 20])
def test_the_metrics_are_what_they_are_called(classes):
    logits = torch.randn(500, classes, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(500) % classes
    hits = {"acc": logits.argmax(1) == labels, "top5_acc": (logits.topk(5).indices == labels[:, None]).any(1)}
    metrics = make_metrics(classes)
    for name in hits.keys() & metrics.keys():
        metrics[name].update(logits, labels)
        assert float(metrics[name].compute()) == pytest.approx(float(hits[name].double().mean()))


def test_a_metric_of_ones_own_is_in_a_run_in_evaluate_and_in_the_report(monkeypatch, tmp_path):
    monkeypatch.setitem(METRICS, "f1", Metric(MulticlassF1Score))
    run = cnnlab.fit(["model=softmax", "trainer=cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"])
    assert {"val/f1", "test/f1"} < run.metrics.keys()
    assert "val/f1" in run.history[0]
    assert evaluate(run)["test/f1"] == pytest.approx(run.metrics["test/f1"])
    report_runs([run], tmp_path / "report")
    assert "f1 (higher is better)" in (tmp_path / "report/report.md").read_text()
    monkeypatch.delitem(METRICS, "f1")
    assert Run.load(run.directory).network() is not None
    report_runs([run], tmp_path / "report")
    assert "| f1 |" in (tmp_path / "report/report.md").read_text()
