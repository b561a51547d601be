"""Metrics that are counted on request."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from children import forked

import cnnlab
from cnnlab.runs.checkpoints import read
from cnnlab.runs.metrics import METRICS, configured_metrics, make_metrics, measure
from cnnlab.training.stages import StageMetrics

ASKED = [name for name, metric in METRICS.items() if metric.on_request and name != "mine"]


def by_scikit_learn(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """What scikit-learn makes of the answers; areas are means over the classes that have images."""
    scores = pytest.importorskip("sklearn.metrics")
    true, guess, shares = labels.numpy(), logits.argmax(1).numpy(), logits.double().softmax(1).numpy()
    present, macro = np.unique(true), {"average": "macro", "zero_division": 0}
    sure, hit = shares.max(1), guess == true
    bins = np.ceil(sure * 15)
    return {
        "cross_entropy": scores.log_loss(true, shares, labels=range(5)),
        "squared_error": ((shares - np.eye(5)[true]) ** 2).sum(1).mean(),
        "balanced_accuracy": scores.balanced_accuracy_score(true, guess),
        "f1": scores.f1_score(true, guess, **macro),
        "precision": scores.precision_score(true, guess, **macro),
        "recall": scores.recall_score(true, guess, **macro),
        "auroc": np.mean([scores.roc_auc_score(true == c, shares[:, c]) for c in present]),
        "average_precision": np.mean([scores.average_precision_score(true == c, shares[:, c]) for c in present]),
        "cohen_kappa": scores.cohen_kappa_score(true, guess),
        "mcc": scores.matthews_corrcoef(true, guess),
        "calibration_error": sum(abs(hit[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean()
                                 for b in np.unique(bins)),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:Recall is ill-defined")
@pytest.mark.parametrize("case", ["usual", "a class without images", "logits from 0 to 1"])
def test_metrics_are_those_of_scikit_learn(case):
    drawn = torch.Generator().manual_seed(0)
    labels = torch.randint(5 if case == "usual" else 4, (80,), generator=drawn)
    logits = torch.rand(80, 5, generator=drawn) * 0.7 + (labels[:, None] == torch.arange(5)) * 0.3
    if case != "logits from 0 to 1":
        logits = logits * 4 - 2
    stage = StageMetrics("val", 5, torch.nn.functional.cross_entropy, ASKED)
    for part in (slice(0, 30), slice(30, 30), slice(30, 80)):  # a process may have no image of a batch
        stage.count(logits[part], labels[part])
    found = {name.partition("/")[2]: float(value) for name, value in stage.counted(0).items()}
    wanted = by_scikit_learn(logits, labels)
    assert set(found) == {"loss", "acc", *ASKED}
    assert found["cross_entropy"] == pytest.approx(found["loss"], abs=1e-6)
    assert {name: found[name] for name in ASKED} == pytest.approx(wanted, abs=1e-5)


def test_what_is_not_defined_names_the_metric_and_not_the_learning_rate():
    stage = StageMetrics("val", 3, torch.nn.functional.cross_entropy, ["auroc"])
    stage.count(torch.rand(5, 3), torch.ones(5, dtype=torch.int64))
    with pytest.raises(FloatingPointError, match=r"^val/auroc is nan after step 7; .* take auroc out of metrics$"):
        stage.counted(7)


def test_a_registered_metric_is_counted_in_every_run_and_one_on_request_where_it_is_asked_for(monkeypatch):
    assert set(make_metrics(10)) == {"acc"}
    assert set(make_metrics(11, ["f1"])) == {"acc", "top5_acc", "f1"}
    from torchmetrics.classification import MulticlassSpecificity

    from cnnlab.runs.metrics import Metric

    monkeypatch.setitem(METRICS, "mine", Metric(MulticlassSpecificity))
    assert set(make_metrics(10)) == {"acc", "mine"}
    assert not measure("val/mine", 10, []).percent


def test_a_run_on_another_loss_counts_what_it_is_compared_by(composed):
    assert configured_metrics(composed("metrics=[f1]")) == ["f1"]
    assert configured_metrics(composed("model.loss=mse", "metrics=[f1]")) == ["f1", "cross_entropy", "squared_error"]


def test_a_study_is_compared_by_what_its_runs_have():
    assert measure("test/loss", 10, []).higher_is_better is False
    assert measure("val/calibration_error", 10, ["calibration_error"]).higher_is_better is False
    assert measure("test/balanced_accuracy", 10, ["balanced_accuracy"]).percent
    with pytest.raises(
        ValueError, match=r"^study.metric=test/f1: it is counted where it is asked for: metrics=\[f1\]$"
    ):
        measure("test/f1", 10, [])
    for name in ("f1", "train/loss", "test/top5_acc", "test/"):
        with pytest.raises(ValueError, match=rf"^study.metric={name}: no run has it"):
            measure(name, 10, ["f1"])


@pytest.mark.slow
def test_a_run_counts_them_in_files_curves_evaluate_and_every_process(tmp_path):
    """With class weights, which have to be those of the whole batch in every process."""
    # 9 validation images in batches of 4: of the last, the first of two processes has none
    quick = ["data.val_size=9", "data.eval_batch_size=4", "trainer.max_epochs=1", "model=softmax", "augment=none"]
    quick += ["data.batch_size=63", "class_weights=[1,1,1,1,1,1,1,1,20,1]"]
    asked = [*quick, f"metrics=[{','.join(ASKED)}]"]
    run = cnnlab.fit([*asked, "trainer=cpu", f"output_dir={tmp_path}"])
    keys = {f"{stage}/{name}" for stage in ("val", "test") for name in ASKED}
    assert keys <= set(run.metrics)
    assert {f"val/{name}" for name in ASKED} <= set(run.history.columns)
    evaluated = run.evaluate()
    assert {k: evaluated[k] for k in keys if k.startswith("test")} == pytest.approx(
        {k: run.metrics[k] for k in keys if k.startswith("test")}, abs=1e-6
    )
    done = forked("train", *asked, "trainer=ddp_cpu", "run_name=two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (two,) = (tmp_path / "outputs/runs").glob("*two*")
    metrics = json.loads((Path(two) / "metrics.json").read_text())
    assert {k: metrics[k] for k in keys} == pytest.approx({k: run.metrics[k] for k in keys}, abs=1e-4)
    ours, theirs = (read(Path(d) / "checkpoints/last.ckpt")["state_dict"] for d in (two, run.directory))
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_few_validation_images_are_warned_of_once_and_the_shipped_number_is_not(command):
    quick = ("model=softmax", "trainer=cpu", "trainer.max_epochs=1")
    few = command("train", *quick, "data.val_size=6").stdout
    assert few.startswith("warning: 6 validation images choose the checkpoint, and their accuracy has a standard error")
    assert "of up to 20 points" in few.splitlines()[0]
    assert "warning" not in command("train", *quick).stdout
    study = command("train", "-m", *quick, "data.val_size=99", "seed=0,1", "optimizer.lr=0.1,0.01").stdout
    assert study.count("warning: 99 validation images") == 1
