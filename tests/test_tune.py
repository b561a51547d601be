"""Each variant of a study gets the same trials on validation images, and runs with the best of its own."""

import pytest

from cnnlab.runs.plan import Plan
from cnnlab.runs.record import read_json
from cnnlab.trained.run import Run

QUICK = ("trainer=cpu", "trainer.max_epochs=1", "model=softmax", "data.val_size=0.5")
RATES = "study.tune={optimizer.lr: [0.001, 1, 1e9]}"


@pytest.mark.slow
def test_variants_are_tuned_by_themselves_and_test_images_have_no_part(command, tmp_path):
    request = ("-m", *QUICK, "optimizer=adam,sgd", "seed=0,1", RATES, "study.name=fair")
    done = command("train", *request)
    assert done.status == 0, done.stderr
    study = tmp_path / "outputs/studies/fair"
    plan = Plan.load(study)
    assert [row["variant"] for row in plan.tuned] == ["adam"] * 3 + ["sgd"] * 3
    rates = {"adam": 0.003, "sgd": 0.05}
    for name, own in rates.items():
        trials = [row for row in plan.tuned if row["variant"] == name]
        assert [row["overrides"] for row in trials] == [
            [f"optimizer.lr={float(f'{own * factor:.6g}')!r}"] for factor in (0.001, 1, 1e9)
        ]
        best = max(row["val/acc"] or 0 for row in trials)
        (chosen,) = (row for row in trials if row["chosen"])
        assert chosen["val/acc"] == best
        runs = [Run.load(path) for path in study.glob(f"{name}-s*")]
        assert len(runs) == 2
        for run in runs:
            assert f"optimizer.lr={run.config['optimizer']['lr']!r}" in chosen["overrides"]
            assert "test/acc" in run.metrics
    trials = list((study / "tune").glob("*/metrics.json"))
    assert len(trials) >= 4  # one that diverges leaves none
    assert not any("test/acc" in read_json(path) for path in trials)
    assert {Run.load(path.parent).info["seed"] for path in trials} == {900_001}
    report = (study / "report.md").read_text()
    assert "had 3 trials" in report
    again = command("train", *request)
    assert "4 of 4 runs are completed already" in again.stdout
    assert Plan.load(study).tuned == plan.tuned


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ("{optimizer.lx: [1]}", "there is no key optimizer.lx"),
        ("{optimizer.lr: 3}", "optimizer.lr needs a list"),
        ("{model.norm: [2]}", "model.norm is None, no number to multiply"),
        ("[1]", "a mapping of keys"),
        ("{optimizer.lr: ['=x']}", "lr is a number"),
    ],
)
def test_what_cannot_be_tuned_is_refused(command, tune, said):
    done = command("train", "-m", *QUICK, "seed=0,1", f"study.tune={tune}")
    assert done.status == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
