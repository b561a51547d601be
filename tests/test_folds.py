"""Cross-validation: folds of the images, and studies by them."""

import csv
import json

import pytest
import torch

from cnnlab.config.identity import config_hash
from cnnlab.data.splits import sizes, training_counts
from cnnlab.training.callbacks.hparams import group, row
from cnnlab.training.datamodule import DataModule

slow = pytest.mark.slow
QUICK = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "model=softmax,mlp")


def test_every_training_image_is_held_out_once(composed):
    seen, whole = [], DataModule(composed("data=digits")["data"])
    whole.setup()
    for fold in range(5):
        config = composed("data=digits", "data.folds=5", f"data.fold={fold}")["data"]
        data = DataModule(config)
        data.setup()
        assert (len(data.train), len(data.val), len(data.test)) == sizes(config)
        assert len(data.train) + len(data.val) == 1437
        assert len(data.val) in (287, 288)
        assert training_counts(config) == torch.bincount(data.train.labels, minlength=10).tolist()
        seen.append(data.val.inputs)
    both = torch.cat([whole.train.inputs, whole.val.inputs])
    ours, all_images = (torch.unique(images.flatten(1), dim=0) for images in (torch.cat(seen), both))
    assert torch.equal(ours, all_images)
    assert len(torch.cat(seen)) == 1437


def test_without_folds_hashes_and_splits_are_what_they_were(composed):
    config = composed("data=digits")
    before = {k: v for k, v in config.items() if k not in ("metrics", "class_weights")}
    before["data"] = {k: v for k, v in config["data"].items() if k not in ("folds", "fold")}
    assert config_hash(config) == config_hash(before)
    assert sizes(before["data"]) == sizes(config["data"])
    for changed in ("metrics=[f1]", "class_weights=balanced", "data.fold=1"):
        assert config_hash(composed("data=digits", changed)) != config_hash(before)


def test_the_folds_of_a_variant_are_one_row_in_tensorboard(composed):
    told = ("study.name=s", "study.variant=v", "study.varied=[model]", "data.folds=5")
    first, second = (composed(*told, f"data.fold={fold}") for fold in (0, 1))
    assert group(first) == group(second)
    assert row(first, ["++data.folds=5", "++data.fold=0"]) == row(second, ["++data.folds=5", "++data.fold=1"])


@slow
def test_a_study_by_folds_runs_packs_extends_and_reports(command, tmp_path):
    asked = ["train", "-m", *QUICK, "study.folds=3", "study.name=cv", "study.pack=4", "metrics=[calibration_error]"]
    done = command(*asked, "seed=0")
    assert done.status == 0, done.stderr
    assert command(*asked, "seed=0,1").status == 0
    directory = tmp_path / "outputs/studies/cv"
    plan = json.loads((directory / "plan.json").read_text())
    assert plan["folds"] == 3
    assert plan["metric"] == {"name": "val/acc", "higher_is_better": True, "percent": True}
    assert [v["name"] for v in plan["variants"]] == ["softmax", "mlp"]  # folds are no variants
    assert len({job["run_dir"] for job in plan["jobs"]}) == 12
    with (directory / "results.csv").open() as file:
        runs = list(csv.DictReader(file))
    assert list(runs[0])[:4] == ["variant", "removed", "seed", "fold"]
    assert [(r["variant"], r["seed"], r["fold"]) for r in runs] == [
        (v, s, f) for v in ("softmax", "mlp") for s in "01" for f in "012"
    ]
    assert {r["status"] for r in runs} == {"completed"}
    report = (directory / "report.md").read_text()
    assert "corrected resampled t test (Nadeau & Bengio 2003) with 2 degrees of freedom" in report
    header, _, *table = (line.split(" | ") for line in report.splitlines() if line.startswith("|"))
    mine = dict(zip(header, table[1], strict=True))
    assert (mine["seeds"], mine["folds"], mine["p (Bonferroni)"] == mine["p"]) == ("2", "3", True)
    by_fold = [
        sum((1 if r["variant"] == "mlp" else -1) * float(r["val/acc"]) for r in runs if r["fold"] == f) / 2
        for f in "012"
    ]
    assert float(mine["difference"]) == pytest.approx(100 * sum(by_fold) / 3, abs=0.006)
    packs = {p.parent.name: json.loads(p.read_text()).get("packed_with", []) for p in directory.glob("*/run.json")}
    fold_of = {job["run_dir"]: job["fold"] for job in plan["jobs"]}
    assert all(fold_of[mate] == fold_of[name] for name, mates in packs.items() for mate in mates)
    # by another metric, where lower is better, nothing runs again
    again = command(*asked, "seed=0,1", "study.metric=val/calibration_error")
    assert "12 of 12 runs are completed already" in again.stdout
    assert "val calibration_error (lower is better)" in again.stdout
    values = {v: sum(float(r["val/calibration_error"]) for r in runs if r["variant"] == v) for v in ("softmax", "mlp")}
    report = (directory / "report.md").read_text()
    header, _, *table = (line.split(" | ") for line in report.splitlines() if line.startswith("|"))
    mine = dict(zip(header, table[1], strict=True))
    assert float(mine["difference"]) == pytest.approx((values["mlp"] - values["softmax"]) / 6, abs=6e-5)
    done = command(*asked, "seed=0,1", "study.metric=val/f1")
    assert "variant softmax cannot be: study.metric=val/f1: it is counted where it is asked for" in done.stderr
