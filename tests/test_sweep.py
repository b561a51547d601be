"""Studies as people run them: real processes, plans, reports, failures."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from children import forked as cnnlab
from children import start

from cnnlab.config.compose import conf_dir
from cnnlab.reporting.compare import compare
from cnnlab.reporting.events import KINDS
from cnnlab.reporting.statistics import seeds_needed
from cnnlab.trained.run import Run

pytestmark = pytest.mark.slow

QUICK = ("model=softmax", "trainer.max_epochs=1", "data.val_size=0.2")


def rows_of(study: Path) -> list[dict[str, str]]:
    with (study / "results.csv").open() as file:
        return list(csv.DictReader(file))


def runs_in(study: Path) -> dict[str, Run]:
    return {p.parent.name: Run.load(p.parent) for p in sorted(study.glob("*/run.json"))}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small study of removals, run once; tests may extend it."""
    cwd = tmp_path_factory.mktemp("study")
    command = ["train", "-m", "ablation=leave_one_out", "study.leave_out=[conv*,fc3]", "seed=0,1"]
    done = cnnlab(*command, "trainer.max_epochs=1", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd, [*command, "trainer.max_epochs=1"], done


def test_a_study_plans_runs_and_reports(study):
    cwd, _, done = study
    directory = cwd / "outputs/studies/leave_one_out"
    plan = json.loads((directory / "plan.json").read_text())
    assert [v["name"] for v in plan["variants"]] == ["baseline", "no_conv1", "no_conv2", "no_fc3"]
    assert len(plan["jobs"]) == 8
    rows = rows_of(directory)
    assert list(rows[0])[:10] == (
        ["variant", "removed", "seed", "status", "run_dir", "params", "macs", "fit_seconds", "val/acc", "test/acc"]
    )
    assert [r["status"] for r in rows] == ["completed"] * 8
    assert {r["removed"] for r in rows} == {"", "conv1", "conv2", "fc3"}
    for row in rows:
        run = Run.load(directory / row["run_dir"])
        assert row["run_dir"] == f"{row['variant']}-s{row['seed']}-{run.info['config_hash']}"
        assert (run.info["variant"], run.info["seed"]) == (row["variant"], int(row["seed"]))
        assert float(row["test/acc"]) == run.metrics["test/acc"]
    report = (directory / "report.md").read_text()
    assert "python -m cnnlab.train -m ablation=leave_one_out" in report
    assert "below 6 seeds there is no 95 % interval" in report
    assert "| lesion |" in report
    assert "about" in done.stdout.splitlines()[6]


def test_the_same_command_runs_nothing_again_and_more_seeds_extend_it(study):
    cwd, command, _ = study
    directory = cwd / "outputs/studies/leave_one_out"
    before = {p: p.stat().st_mtime_ns for p in directory.glob("*-s*/**/*") if p.is_file()}
    over_seeds = {p: p.stat().st_mtime_ns for p in directory.glob("*/*/*tfevents*") if p.parts[-3] in KINDS}
    assert len(before) > 50
    assert len(over_seeds) == 12
    again = cnnlab(*command, cwd=cwd)
    assert again.returncode == 0, again.stderr
    assert "8 of 8 runs are completed already" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in directory.glob("*-s*/**/*") if p.is_file()}
    assert over_seeds == {p: p.stat().st_mtime_ns for p in directory.glob("*/*/*tfevents*") if p.parts[-3] in KINDS}
    extended = cnnlab(*command, "seed=0,2", cwd=cwd)
    assert "4 of 8 runs are completed already" in extended.stdout
    assert len(rows_of(directory)) == 12
    # those of three seeds have taken their places; a seed in between may leave the lowest and highest as they are
    assert not any(path.exists() for path in over_seeds if path.parts[-3] == "mean")
    assert {p: p.stat().st_mtime_ns for p in before if p.suffix == ".ckpt"}.items() <= before.items()


def test_surviving_layers_start_equal_and_data_come_in_the_same_order(study):
    from cnnlab.training.assemble import assemble, build
    from cnnlab.training.datamodule import DataModule

    cwd, *_ = study
    runs = runs_in(cwd / "outputs/studies/leave_one_out")
    ours = [r for r in runs.values() if r.info["seed"] == 0 and r.info["variant"] in ("baseline", "no_fc3")]
    batches, weights = [], []
    for run in ours:
        data = DataModule(run.config["data"], run.config["augment"], run.config["seed"])
        data.setup()
        batches.append(next(iter(data.train_dataloader())))
        weights.append(build(assemble(run.config), data).network.conv2.state_dict())
    assert torch.equal(batches[0][0], batches[1][0])
    assert torch.equal(batches[0][1], batches[1][1])
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))


def test_a_report_of_a_half_finished_study_says_what_is_missing(study, tmp_path):
    import shutil

    cwd, *_ = study
    copy = tmp_path / "copy"
    shutil.copytree(cwd / "outputs/studies/leave_one_out", copy)
    removed = next(copy.glob("no_fc3-s1-*"))
    shutil.rmtree(removed)
    broken = next(copy.glob("no_conv1-s1-*"))
    info = json.loads((broken / "run.json").read_text())
    (broken / "run.json").write_text(json.dumps(info | {"status": "running"}))  # and nobody is running it
    done = cnnlab("report", f"study={copy}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    status = {(r["variant"], r["seed"]): r["status"] for r in rows_of(copy)}
    assert (status["no_fc3", "1"], status["no_conv1", "1"]) == ("pending", "interrupted")
    assert "not completed: no_conv1 s1 interrupted; no_fc3 s1 pending" in done.stdout


def test_an_impossible_variant_stops_the_study_before_it_begins_unless_it_may_be_skipped(command, tmp_path):
    request = ["train", "-m", "data=xo", "model=xo_cnn", "data.train_size=64", "data.test_size=64"]
    request += ["model.remove=[],[pool1],[conv9]", "trainer.max_epochs=1"]
    done = command(*request)
    assert done.status == 1
    assert 'variant no_conv9 cannot be: model.remove: no layer is called "conv9"' in done.stderr
    assert not list(tmp_path.glob("outputs/**/run.json"))
    done = command(*request, "study.skip_invalid=true", "study.plan_only=true")
    assert done.status == 0, done.stderr
    (plan,) = tmp_path.glob("outputs/studies/*/plan.json")
    reasons = {v["name"]: v["reason"] for v in json.loads(plan.read_text())["variants"]}
    assert reasons["no_conv9"]
    assert not list(tmp_path.glob("outputs/**/run.json"))


def test_a_failing_job_stops_no_other_and_is_retried(tmp_path):
    # the learning rate of one variant is far too large, so that its loss is not finite
    command = ["train", "-m", "model=mlp", "optimizer=sgd", "optimizer.lr=0.1,1e30", "trainer.gradient_clip_val=1"]
    command += ["trainer.max_epochs=2"]
    done = cnnlab(*command, cwd=tmp_path)
    (directory,) = (tmp_path / "outputs/studies").iterdir()
    status = {name.partition("-")[0]: run.status for name, run in runs_in(directory).items()}
    assert done.returncode == 1
    assert sorted(status.values()) == ["completed", "failed"]
    assert "not finite; lower optimizer.lr" in done.stdout
    assert "1 of 2 runs did not complete" in done.stderr
    assert "FloatingPointError" in (directory / "report.md").read_text()
    again = cnnlab(*command, cwd=tmp_path)
    assert again.returncode == 1
    assert "1 of 2 runs are completed already" in again.stdout
    assert "[1/1]" in again.stdout
    assert re.search(r"^starts again: lr_1e_30-s0-\w+ \(failed\)$", again.stdout, re.MULTILINE)


def test_a_sweep_that_was_killed_says_from_where_it_resumes(tmp_path):
    command = ["train", "-m", "model=mlp", "seed=0,1", "trainer.max_epochs=3"]
    done = cnnlab(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resumes" not in done.stdout
    (directory,) = (tmp_path / "outputs/studies").glob("*/baseline-s1-*")
    info = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(info | {"status": "running"}))  # and nobody is running it
    again = cnnlab(*command, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    steps = torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert f"resumes: {directory.name} (interrupted) from epoch 3, step {steps}\n" in again.stdout


def children(pid, name):
    """Processes that a process has started, with this in their command line."""
    found = subprocess.run(["pgrep", "-P", str(pid), "-f", name], capture_output=True, text=True)
    return [int(child) for child in found.stdout.split()]


def test_a_killed_worker_is_announced_recorded_and_costs_only_its_neighbours(tmp_path):
    command = [sys.executable, "-m", "cnnlab.train", "-m", "model=mlp", "trainer.max_epochs=25,5", "seed=0,1"]
    command += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    with (tmp_path / "log").open("w") as log:
        sweep = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        deadline = time.time() + 120
        while not (running := list(tmp_path.glob("outputs/studies/*/*/checkpoints/last.ckpt"))):
            assert time.time() < deadline
            time.sleep(0.2)
        (server,) = children(sweep.pid, "forkserver")
        workers = children(server, "forkserver")
        os.kill(workers[0], signal.SIGKILL)
        assert sweep.wait(180) == 1
    output = (tmp_path / "log").read_text()
    assert running
    assert "failed: the process was killed: SIGKILL(-9)" in output
    runs = runs_in(next(tmp_path.glob("outputs/studies/*"))).values()
    states = [run.status for run in runs]
    assert len(states) == 4
    assert 1 <= states.count("failed") <= 2
    assert states.count("completed") == 4 - states.count("failed")
    assert all("killed" in run.info["cause"] for run in runs if run.status == "failed")
    assert "killed" in next(tmp_path.glob("outputs/studies/*/report.md")).read_text()
    assert len(workers) == 2


def test_workers_end_with_a_sweep_that_is_killed():
    code = """
import multiprocessing, os, signal
from cnnlab.studies.execute import _end_with_parent
worker = multiprocessing.get_context("forkserver").Process(target=_end_with_parent)
worker.start()
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    deadline = time.time() + 60
    while Path(f"/proc/{int(done.stdout)}").exists():
        assert time.time() < deadline
        time.sleep(0.1)


def test_two_identical_sweeps_at_once_run_every_job_once(tmp_path):
    command = ["train", "-m", "model=mlp,softmax", "seed=0,1", "trainer.max_epochs=8"]
    both = [sweep.wait() for sweep in [start(*command, cwd=tmp_path) for _ in range(2)]]
    assert [sweep.returncode for sweep in both] == [0, 0], both
    ran = [line for sweep in both for line in sweep.stdout.splitlines() if "  accuracy " in line]
    assert len(ran) == 4
    assert len({line.split()[1:3][0] + line.split()[2] for line in ran}) == 4


def test_a_job_of_several_processes_works_inside_a_sweep(tmp_path):
    done = cnnlab("train", "-m", *QUICK, "trainer=ddp_cpu", "seed=0", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = runs_in(next(tmp_path.glob("outputs/studies/*"))).values()
    assert [(run.status, run.info["world_size"]) for run in runs] == [("completed", 2)]


def test_a_twin_has_the_capacity_of_the_baseline(command, tmp_path):
    done = command("train", "-m", "model.remove=[],[conv2]", "study.match=params", "study.plan_only=true")
    assert done.status == 0, done.stderr
    (plan,) = tmp_path.glob("outputs/studies/*/plan.json")
    params = {v["name"]: v["params"] for v in json.loads(plan.read_text())["variants"]}
    assert list(params) == ["baseline", "no_conv2", "no_conv2-same_params"]
    assert params["no_conv2-same_params"] == pytest.approx(params["baseline"], rel=0.02)


def test_names_of_plain_sweeps_say_what_varies(command, tmp_path):
    request = ["train", "-m", "model=mlp,softmax", "optimizer.lr=0.1,0.01", "data.permute_pixels=true"]
    done = command(*request, "study.plan_only=true", "study.name=mine")
    assert done.status == 0, done.stderr
    variants = json.loads((tmp_path / "outputs/studies/mine/plan.json").read_text())["variants"]
    assert [v["name"] for v in variants] == ["mlp-lr_0.1", "mlp-lr_0.01", "softmax-lr_0.1", "softmax-lr_0.01"]


def test_runs_that_no_study_made_are_compared(command, tmp_path):
    for seed in (0, 1):
        for rate in (0.1, 0.001):
            done = command("train", *QUICK, f"seed={seed}", f"optimizer.lr={rate}")
            assert done.status == 0, done.stderr
    runs = ",".join(str(p) for p in sorted((tmp_path / "outputs/runs").iterdir()))
    done = command("report", f"runs=[{runs}]")
    assert done.status == 0, done.stderr
    rows = rows_of(tmp_path / "outputs/reports")
    assert len(rows) == 4
    assert len({r["variant"] for r in rows}) == 2


def test_a_search_prunes_resumes_and_survives_failing_trials(tmp_path):
    command = ["train", "-m", "hydra/sweeper=search", "model=softmax", "trainer.max_epochs=3", "study.name=search"]
    command += ["optimizer.lr=tag(log, interval(0.000001, 1.0))"]
    done = cnnlab(*command, "hydra.sweeper.trials=8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "outputs/studies/search")
    assert {r["state"] for r in rows} == {"complete", "pruned"}
    pruned = [r["trial"] for r in rows if r["state"] == "pruned"]
    run = Run.load(next(tmp_path.glob(f"outputs/studies/search/trial_{int(pruned[0]):03d}-*")))
    assert run.metrics["epochs"] < 3
    said = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert [line.split()[0] for line in said] == [f"[{i}/8]" for i in range(1, 9)]
    by_trial = {int(r["trial"]): float(r["val/acc"]) for r in rows if r["state"] == "complete"}
    for number, accuracy in by_trial.items():
        assert f"trial_{number:03d} s0  validation accuracy {accuracy:.4f}" in said[number]
    again = cnnlab(*command, "hydra.sweeper.trials=10", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "8 of 10 trials are done already" in again.stdout
    assert "[9/10] trial_008" in again.stdout
    assert len(rows_of(tmp_path / "outputs/studies/search")) == 10
    assert len({r["optimizer.lr"] for r in rows_of(tmp_path / "outputs/studies/search")}) == 10  # none asked twice
    best = [float(r["val/acc"]) for r in rows_of(tmp_path / "outputs/studies/search") if r["state"] == "complete"]
    assert best == sorted(best, reverse=True)
    assert len(compare(tmp_path / "outputs/studies/search")) == 10
    reported = {name: (tmp_path / f"outputs/studies/search/report.{name}").read_text() for name in ("md", "html")}
    assert "10 of 10 wanted trials are done" in reported["md"]
    for name in reported:
        (tmp_path / f"outputs/studies/search/report.{name}").unlink()
    assert cnnlab("report", "study=outputs/studies/search", cwd=tmp_path).returncode == 0
    assert reported == {name: (tmp_path / f"outputs/studies/search/report.{name}").read_text() for name in reported}
    alone = shlex.split(reported["md"].partition("Its command:")[2].splitlines()[2])  # word for word
    assert alone[:3] == ["python", "-m", "cnnlab.train"]
    assert cnnlab("train", *alone[3:], cwd=tmp_path).returncode == 0
    (run,) = (tmp_path / "outputs/runs").iterdir()
    assert Run.load(run).metrics["val/acc"] == best[0]


def test_tensorboard_gets_what_is_varied_and_the_seeds_as_one_group(study):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    cwd, *_ = study
    groups = {}
    directory = cwd / "outputs/studies/leave_one_out"
    for run in runs_in(directory).values():
        events = EventAccumulator(str(run.directory)).Reload()
        assert events.Scalars("final/test/acc")[0].value == pytest.approx(run.metrics["test/acc"])
        mean = EventAccumulator(str(directory / "mean" / run.info["variant"])).Reload()
        start, of_mean = (
            plugin_data_pb2.HParamsPluginData.FromString(
                read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
            ).session_start_info
            for read in (events, mean)
        )
        assert (of_mean.group_name, of_mean.hparams) == (start.group_name, start.hparams)
        assert {"variant", "model.remove"} < set(start.hparams)
        assert "seed" not in start.hparams
        groups.setdefault(start.group_name.rpartition("-")[0], set()).add(start.group_name)
        assert mean.Scalars("run/runs")[0].value == len(list(directory.glob(f"{run.info['variant']}-s*")))
        assert mean.Scalars("final/test/acc_sd")
        assert [e.step for e in mean.Scalars("val/acc")] == [e.step for e in events.Scalars("val/acc")]
    variants = ("baseline", "no_conv1", "no_conv2", "no_fc3")
    assert set(groups) == {f"leave_one_out/{variant}" for variant in variants}
    assert all(len(names) == 1 for names in groups.values())


def test_the_report_works_offline_in_a_browser(study, browser):
    cwd, *_ = study
    page = browser.new_page(offline=True)
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("file:") else trouble.append(request.url))
    page.goto(f"file://{cwd}/outputs/studies/leave_one_out/report.html")

    def column(header: str) -> list[str]:
        place = page.locator("#comparison th").all_inner_texts().index(header)
        return page.locator(f"#comparison tbody td:nth-child({place + 1})").all_inner_texts()

    for header, key in (("test acc %", float), ("sd", float), ("variant", str)):
        page.locator("#comparison th", has_text=header).first.click()
        assert column(header) == sorted(column(header), key=key)
        page.locator("#comparison th", has_text=header).first.click()
        assert column(header) == sorted(column(header), key=key, reverse=True)
    assert page.locator("#differences .forest > div").count() == 3 + 1  # variants, axis
    assert page.locator("#differences .second").count() == 3  # lesions
    assert page.locator("#capacity svg").count() == 2
    assert page.locator("#curves svg").count() == 4
    for plot in page.locator("#capacity svg, #curves svg").all():
        box = plot.bounding_box()
        assert box["width"] > 170
        assert box["height"] > 150
    links = [a.get_attribute("href") for a in page.locator("#runs a").all()]
    assert links
    assert all((cwd / "outputs/studies/leave_one_out" / link).is_dir() for link in links)
    assert not trouble


@pytest.mark.real_data
@pytest.mark.parametrize("ablation", sorted(p.stem for p in (conf_dir() / "ablation").glob("*.yaml")))
def test_every_shipped_study_can_be_and_has_seeds_enough_for_a_verdict(
    ablation, real_data_dir, command, tmp_path, monkeypatch
):
    if ablation != "pooling":  # which times the steps of its variants, as every study does
        monkeypatch.setattr("cnnlab.studies.plan.step_seconds", lambda *_: 0.1)
    done = command("train", f"ablation={ablation}", "study.plan_only=true", "trainer=cpu", f"data_dir={real_data_dir}")
    assert done.status == 0, done.stderr
    plan = json.loads((tmp_path / f"outputs/studies/{ablation}/plan.json").read_text())
    assert len(plan["variants"]) >= 3
    assert all(v["params"] and v["seconds"] and not v["reason"] for v in plan["variants"])
    seeds = {job["seed"] for job in plan["jobs"]}
    assert len(plan["jobs"]) == len(seeds) * len(plan["variants"])
    assert len(seeds) >= seeds_needed()
    if ablation == "leave_one_out":
        names = [v["name"] for v in plan["variants"]]
        assert names == ["baseline", "no_conv1", "no_pool1", "no_conv2", "no_pool2", "no_fc3", "no_fc4"]
