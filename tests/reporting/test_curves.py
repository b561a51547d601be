"""Mean, lowest and highest over seeds: as TensorBoard reads them, in the plot, written once, renewed by more seeds."""

import json
import re
from math import log
from pathlib import Path
from statistics import stdev

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnnlab.reporting.curves import by_epoch, curves_over
from cnnlab.reporting.events import write_events
from cnnlab.reporting.sections import curves
from cnnlab.reporting.study import Study, assemble
from cnnlab.runs.plan import Job, Plan, Variant
from cnnlab.runs.record import Record

ACCURACY = {0: (0.5, 0.7), 1: (0.6, 0.9), 2: (0.1, 0.2)}  # after each epoch, by seed


def run(directory: Path, variant: str, seed: int, status: str = "completed", epochs: int = 2) -> Record:
    """A run directory as training leaves it, with what a report reads of it."""
    place = directory / f"{variant}-s{seed}-0"
    for folder in (".hydra", "csv/version_0"):
        (place / folder).mkdir(parents=True)
    rows = [f",{2.0 + seed},0,,", f",{1.0 + seed},7,,"]
    for epoch, accuracy in enumerate(ACCURACY[seed][:epochs]):
        rows += [f"{epoch},,{10 * epoch + 9},,{accuracy}", f"{epoch},,{10 * epoch + 9},{1 / (epoch + 1 + seed)},"]
    text = "\n".join(["epoch,train/loss_step,step,train/loss,val/acc", *rows])
    (place / "csv/version_0/metrics.csv").write_text(text + "\n")
    info = {"status": status, "config_hash": "", "variant": variant, "removed": [], "overrides": [], "seed": seed}
    (place / "run.json").write_text(json.dumps(info | {"git": None, "versions": {}}))
    (place / ".hydra/config.yaml").write_text("data: {name: digits}\n")
    if status == "completed":
        (place / "metrics.json").write_text(json.dumps({"test/acc": ACCURACY[seed][-1], "params": 10}))
    return Record(place)


@pytest.fixture
def study_of(tmp_path, monkeypatch):
    """A study of one variant, of runs with these seeds, which are made where they are not there."""
    monkeypatch.setattr("cnnlab.reporting.study.damage", lambda _: None)  # their configs are no whole ones

    def study(*seeds: int) -> Study:
        places = {seed: tmp_path / f"a-s{seed}-0" for seed in seeds}
        runs = [(s, Record(p) if p.is_dir() else run(tmp_path, "a", s)) for s, p in places.items()]
        jobs = [(Job("a", seed, made.directory.name, ""), made) for seed, made in runs]
        plan = Plan("s", "a", "", [], [], [Variant("a", [])], [job for job, _ in jobs])
        return assemble(plan, tmp_path, jobs)

    return study


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, pytest.approx(e.value)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_mean_lowest_and_highest_of_every_scalar(study_of, tmp_path):
    write_events(study_of(0, 1), tmp_path)
    mean, lowest, highest = (scalars(tmp_path / kind / "a") for kind in ("mean", "lowest", "highest"))
    assert mean["val/acc"] == [(9, 0.55), (19, 0.8)]
    assert lowest["val/acc"] == [(9, 0.5), (19, 0.7)]
    assert highest["val/acc"] == [(9, 0.6), (19, 0.9)]
    assert mean["train/loss_step"] == [(0, 2.5), (7, 1.5)]
    assert mean["final/test/acc"] == [(0, 0.8)]
    assert mean["final/test/acc_sd"] == [(0, stdev([0.7, 0.9]))]
    assert mean["run/runs"] == [(0, 2)]
    assert highest["final/test/acc"] == [(0, 0.9)]
    assert set(lowest) == set(highest) == set(mean) - {"final/test/acc_sd", "run/runs"}
    assert "epoch" not in mean


def test_events_are_written_once_and_renewed_when_seeds_arrive(study_of, tmp_path):
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for kind in kinds for path in (tmp_path / kind).rglob("*tfevents*")}

    kinds = ("mean", "lowest", "highest")
    write_events(study_of(0, 1), tmp_path)
    first = files()
    assert len(first) == 3
    write_events(study_of(0, 1), tmp_path)
    assert files() == first
    write_events(study_of(0, 1, 2), tmp_path)
    assert len(files()) == 3
    assert not files().keys() & first.keys()
    assert scalars(tmp_path / "mean/a")["val/acc"] == [(9, 0.4), (19, 0.6)]
    (tmp_path / "mean/a/mine").touch()  # stays
    write_events(study_of(0), tmp_path)  # of a plan with one seed, whose run is its own mean
    assert not files()
    assert [p.name for kind in kinds for p in (tmp_path / kind).rglob("*")] == ["a", "mine"]


def test_curves_are_over_completed_runs_as_soon_as_there_is_one(study_of, tmp_path):
    run(tmp_path, "a", 2, status="failed", epochs=1)
    assert study_of(2).curves["a"]["val/acc"].mean.tolist() == [0.1]
    assert study_of(0, 2).curves["a"]["val/acc"].mean.tolist() == [0.5, 0.7]


def test_a_run_with_fewer_epochs_or_a_damaged_log_takes_nothing_from_the_others(tmp_path):
    places = [run(tmp_path, "a", 0).directory, run(tmp_path, "a", 1, epochs=1).directory]
    places.append(run(tmp_path, "a", 2).directory)
    (places[2] / "csv/version_0/metrics.csv").write_text("epoch,step,val/acc\n0,9,high\n")
    curve = curves_over(places)["val/acc"]
    assert (curve.mean.tolist(), curve.steps.tolist()) == ([0.55, 0.7], [9, 19])


def test_epochs_that_end_at_other_steps_are_the_same_epochs(tmp_path):
    one, other = run(tmp_path, "a", 0).directory, run(tmp_path, "a", 1).directory
    log = other / "csv/version_0/metrics.csv"
    log.write_text(log.read_text().replace(",19,", ",21,"))
    both = curves_over([one, other])
    epochs, curve = by_epoch(both, "val/acc") or ([], None)
    assert list(epochs) == [1, 2]
    assert curve is not None
    assert curve.highest.tolist() == [0.6, 0.9]
    assert by_epoch(both, "val/loss") is None


def test_the_plots_of_learning_curves_have_bands_and_a_logarithmic_axis_for_losses(study_of):
    section = curves(study_of(0, 1))
    assert [figure.name for figure in section.blocks] == ["curves", "training-loss"]  # there is no log of val/loss
    accuracy, loss = (figure.html for figure in section.blocks)
    assert accuracy.count('class="spread"') == loss.count('class="spread"') == 1
    assert "validation accuracy, %" in accuracy
    # losses of 0.5 to 1 and 0.33 to 0.5 after each epoch: equal distances are equal ratios
    heights = [float(y) for y in re.findall(r",([\d.]+)", re.findall(r'class="spread" points="([^"]+)"', loss)[0])]
    highs, lows = heights[:2], heights[:1:-1]
    assert highs[1] == pytest.approx(lows[0], abs=0.1)
    assert (highs[1] - highs[0]) / (lows[1] - lows[0]) == pytest.approx(log(2) / log(1.5), rel=0.01)
