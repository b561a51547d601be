"""One process trains, leaves a run directory, and takes it up again."""

import csv
import json
import math
import shutil

import pytest
import torch
from lightning.pytorch import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cnnlab
from cnnlab.config.identity import config_hash
from cnnlab.runs.checkpoints import read
from cnnlab.runs.record import InUseError
from cnnlab.trained.evaluate import evaluate
from cnnlab.trained.run import Run
from cnnlab.training.classifier import Classifier
from cnnlab.training.run import begin, resume, train

pytestmark = pytest.mark.slow

QUICK = ("trainer=cpu", "trainer.max_epochs=1", "data=xo", "data.train_size=200", "data.test_size=50", "model=mlp")


def logged(run: Run, name: str) -> list[float]:
    """A column of the run's CSV log."""
    with (run.directory / "csv/version_0/metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def fit(tmp_path, *overrides: str) -> Run:
    return cnnlab.fit([*QUICK, f"output_dir={tmp_path}", *overrides])


def test_the_run_directory_holds_what_the_contract_says(digits_run):
    for name in (".hydra/config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.json", "train.log"):
        assert (digits_run.directory / name).is_file(), name
    info = digits_run.info
    assert info["status"] == "completed"
    assert {"schema", "cause", "config_hash", "variant", "removed", "overrides", "seed", "git", "versions"} <= set(info)
    assert (info["device"], info["world_size"]) == ("cpu", 1)
    assert info["threads"] == torch.get_num_threads()
    metrics = digits_run.metrics
    assert set(metrics) == {
        "train/loss", "val/loss", "val/acc", "test/loss", "test/acc",
        "params", "macs", "epochs", "fit_seconds", "train_images_per_second",
    }  # fmt: skip
    assert metrics["params"] == 61_706
    assert metrics["epochs"] == 2
    assert 0.5 < metrics["test/acc"] <= 1
    assert all(math.isfinite(v) for v in metrics.values())


def test_tensorboard_holds_scalars_graph_and_hyperparameters_with_final_metrics(digits_run):
    events = EventAccumulator(str(digits_run.directory), size_guidance={"tensors": 0}).Reload()
    tags = events.Tags()
    wanted = {"train/loss", "train/loss_step", "val/acc", "val/loss", "lr", "grad_norm", "train/images_per_second"}
    assert wanted <= set(tags["scalars"])
    assert tags["graph"]
    assert "conv1" in str(events.Graph())
    plugin = events.PluginTagToContent("hparams")
    assert b"optimizer.lr" in plugin["_hparams_/session_start_info"]
    assert "hp_metric" not in tags["scalars"]
    assert events.Scalars("final/test/acc")[-1].value == pytest.approx(digits_run.metrics["test/acc"])


def test_csv_has_the_same_scalars(digits_run):
    assert max(logged(digits_run, "val/acc")) == pytest.approx(digits_run.metrics["val/acc"])
    assert len(logged(digits_run, "train/loss")) == 2
    assert logged(digits_run, "train/loss_step")


def test_a_checkpoint_is_enough_by_itself(digits_run):
    path = digits_run.directory / "checkpoints/best.ckpt"
    classifier = Classifier.load_from_checkpoint(path, weights_only=True, map_location="cpu")
    assert classifier.classes == [str(d) for d in range(10)]
    state = torch.load(path, weights_only=True)["state_dict"]
    assert "network.conv1.conv.weight" in state


def test_evaluate_agrees_with_the_test_at_the_end_whatever_the_batch_size(digits_run):
    for size in (7, 500):
        metrics = evaluate(digits_run, {**digits_run.config["data"], "eval_batch_size": size})
        assert metrics["test/acc"] == pytest.approx(digits_run.metrics["test/acc"], abs=1e-6)
        assert metrics["test/loss"] == pytest.approx(digits_run.metrics["test/loss"], abs=1e-6)
        assert metrics["images"] == 360
    assert list(metrics["per_class"]) == digits_run.classes
    written = json.loads((digits_run.directory / "evaluate/digits.json").read_text())
    assert written == metrics


def test_evaluate_refuses_other_channels_and_classes(digits_run, composed):
    with pytest.raises(ValueError, match="classes this run was not trained on: X, O"):
        evaluate(digits_run, composed("data=xo")["data"])


@pytest.mark.real_data
def test_evaluate_on_other_data_keeps_the_runs_normalisation(digits_run, composed, real_data_dir):
    metrics = evaluate(digits_run, composed("data=mnist", f"data_dir={real_data_dir}")["data"])
    assert metrics["images"] == 10_000
    assert 0.2 < metrics["test/acc"] < digits_run.metrics["test/acc"]
    assert (digits_run.directory / "evaluate/mnist.json").is_file()


def test_the_notebook_interface(digits_run, tmp_path):
    run = Run.load(digits_run.directory)
    images = torch.rand(3, 1, 28, 28)
    assert run.network()(images).shape == (3, 10)
    answers = run.predict(images)
    assert {a["label"] for a in answers} <= set(run.classes)
    assert all(0 < a["probability"] <= 1 for a in answers)
    table = cnnlab.compare([run, fit(tmp_path)])
    assert table[0]["model.name"] == "lenet5"
    assert "test/acc" in str(table)
    assert "<table>" in table._repr_html_()
    with pytest.raises(ValueError, match="no run directory"):
        Run.load(tmp_path / "nothing")


def test_init_from_takes_the_layers_that_agree(digits_run, tmp_path, capsys):
    overrides = ["trainer=cpu", "trainer.max_epochs=1", "optimizer.lr=0", f"output_dir={tmp_path}"]
    run = cnnlab.fit([*overrides, f"init_from={digits_run.directory}", "model.layers.fc4.features=50"])
    ours, theirs = run.network("last").state_dict(), digits_run.network().state_dict()
    assert torch.equal(ours["conv1.conv.weight"], theirs["conv1.conv.weight"])
    assert ours["fc4.linear.weight"].shape == (50, 120)
    assert "started afresh: fc4, head" in capsys.readouterr().out


def test_resume_goes_on_in_the_same_directory_and_says_when_there_is_nothing_to_do(tmp_path, capsys):
    run = fit(tmp_path)
    resume(run.directory, [])
    assert "nothing to do" in capsys.readouterr().out
    resume(run.directory, ["trainer.max_epochs=3"])
    assert run.metrics["epochs"] == 3
    with pytest.raises(ValueError, match="may change"):
        resume(run.directory, ["optimizer.lr=1"])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon", "adadelta"])
def test_every_optimizer_learns_xo(tmp_path, optimizer):
    run = fit(tmp_path, f"optimizer={optimizer}", "trainer.max_epochs=3", "data.batch_size=20")
    assert run.metrics["test/acc"] == 1.0


def test_ema_is_what_is_validated_and_kept(tmp_path):
    run = fit(tmp_path, "callbacks=ema", "callbacks.ema.decay=0.9", "trainer.max_epochs=2")
    checkpoint = torch.load(run.directory / "checkpoints/last.ckpt", weights_only=True)
    averaged, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert not torch.equal(averaged["network.fc1.linear.weight"], current["network.fc1.linear.weight"])
    assert torch.equal(run.network("last").state_dict()["fc1.linear.weight"], averaged["network.fc1.linear.weight"])


def test_of_equally_good_epochs_the_latest_is_kept(tmp_path):
    run = fit(tmp_path, "trainer.max_epochs=4", "optimizer.lr=0.01", "data.batch_size=20")
    with (run.directory / "csv/version_0/metrics.csv").open() as file:
        epochs = {int(row["epoch"]): float(row["val/acc"]) for row in csv.DictReader(file) if row["val/acc"]}
    equals = [epoch for epoch, accuracy in epochs.items() if accuracy == max(epochs.values())]
    assert len(equals) > 1
    best = torch.load(run.directory / "checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == equals[-1]


def test_epochs_that_are_not_validated_show_no_validation_of_earlier_ones(tmp_path, capsys):
    run = fit(tmp_path, "trainer.max_epochs=5", "trainer.check_val_every_n_epoch=2")
    epochs = read(run.directory / "checkpoints/last.ckpt")["callbacks"]["History"]["epochs"]
    assert ["val/acc" in row for row in epochs] == [False, True, False, True, False]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert ["val/acc" in line for line in lines] == [False, True, False, True, False]
    assert torch.load(run.directory / "checkpoints/best.ckpt", weights_only=True)["epoch"] in (1, 3)


def test_validation_changes_nothing_of_the_training(tmp_path):
    recipe = ("trainer.max_epochs=3", "callbacks=lookahead", "callbacks.lookahead.every=2", "model.norm=batch")
    every, once = (fit(tmp_path, *recipe, f"trainer.check_val_every_n_epoch={n}") for n in (1, 3))
    weights = [read(run.directory / "checkpoints/last.ckpt")["state_dict"] for run in (every, once)]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items() if "network" in name)


def test_early_stopping_stops(tmp_path):
    run = fit(
        tmp_path,
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=1",
        "optimizer.lr=0",
        "trainer.max_epochs=9",
    )
    assert run.metrics["epochs"] == 2


def test_clipping_limits_the_norm_and_stops_where_it_is_not_finite(tmp_path):
    run = fit(tmp_path, "trainer.gradient_clip_val=0.001", "optimizer=sgd", "trainer.log_every_n_steps=1")
    assert max(logged(run, "grad_norm")) > 0.001  # before clipping
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d+: .* not finite; lower optimizer\.lr"):
        fit(tmp_path, "trainer.gradient_clip_val=1", "optimizer=sgd", "optimizer.lr=1e30", "run_name=diverged")
    (failed,) = tmp_path.glob("runs/*diverged*")
    assert Run.load(failed).status == "failed"
    assert "not finite" in Run.load(failed).info["cause"]


@pytest.mark.parametrize("model", ["mlp", "resnet20", "inception_cifar", "densenet40"])
def test_label_smoothing_and_bf16_train(tmp_path, model):
    narrow = [] if model == "mlp" else ["model.width=0.25", "trainer.max_epochs=1", "+trainer.limit_train_batches=2"]
    assert (
        fit(tmp_path, f"model={model}", *narrow, "label_smoothing=0.1", "precision=bf16-mixed").metrics["train/loss"]
        > 0
    )


def test_a_run_is_repeatable_and_its_hash_ignores_where_it_ran(tmp_path, composed):
    first, second = fit(tmp_path / "a", "deterministic=true"), fit(tmp_path / "b", "deterministic=true")
    for a, b in zip(first.network().parameters(), second.network().parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.info["config_hash"] == second.info["config_hash"]
    assert config_hash(composed("seed=1")) != config_hash(composed("seed=2"))
    assert config_hash(composed("trainer=ddp_cpu")) == config_hash(composed("trainer=cpu"))


def test_a_damaged_checkpoint_is_refused_in_one_line(digits_run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(digits_run.directory, copy)
    best = copy / "checkpoints/best.ckpt"
    best.write_bytes(best.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged") as caught:
        Run.load(copy).network()
    assert "\n" not in str(caught.value)


def test_a_checkpoint_with_code_in_it_is_not_executed(digits_run, tmp_path):
    import os
    import pickle
    import shutil

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    copy = tmp_path / "run"
    shutil.copytree(digits_run.directory, copy)
    checkpoint = torch.load(copy / "checkpoints/best.ckpt", weights_only=True)
    torch.save({**checkpoint, "payload": Payload()}, copy / "checkpoints/best.ckpt", pickle_module=pickle)
    with pytest.raises(ValueError, match="no checkpoint of cnnlab"):
        Run.load(copy).network()
    assert not (tmp_path / "canary").exists()


def test_a_run_that_is_gone_counts_as_interrupted(digits_run, tmp_path):
    import shutil

    from cnnlab.runs.record import lock, read_json, write_json

    copy = tmp_path / "run"
    shutil.copytree(digits_run.directory, copy)
    write_json(copy / "run.json", read_json(copy / "run.json") | {"status": "running"})
    assert Run.load(copy).status == "interrupted"
    with lock(copy):
        assert Run.load(copy).status == "running"
        with pytest.raises(ValueError, match="in use by another process"):
            train(Run.load(copy).config, copy)


@pytest.mark.real_data
def test_lenet5_learns_mnist(tmp_path, real_data_dir):
    overrides = ["experiment=lenet5_mnist", "trainer.max_epochs=1", "trainer=cpu"]
    run = cnnlab.fit([*overrides, f"data_dir={real_data_dir}", f"output_dir={tmp_path}"])
    assert run.metrics["test/acc"] > 0.97


@pytest.mark.real_data
def test_alexnet_learns_cifar10_from_a_tenth_of_an_epoch(tmp_path, real_data_dir):
    overrides = ["experiment=alexnet_cifar10", "trainer.max_epochs=1", "trainer=cpu", "+trainer.limit_train_batches=35"]
    run = cnnlab.fit([*overrides, f"data_dir={real_data_dir}", f"output_dir={tmp_path}", "model.width=0.5"])
    assert run.metrics["test/acc"] > 0.2


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler")
@pytest.mark.parametrize(
    "model",
    [
        ["model.dropout=0"],
        ["model=resnet20", "model.width=0.25", "model.remove=['s*b2_*','s*b3_*','s3*']"],
    ],
    ids=["chain", "graph"],
)
def test_a_compiled_network_learns_the_same_and_is_looked_at_uncompiled(tmp_path, model):
    common = ("trainer=cpu", "optimizer=sgd", "trainer.max_epochs=1", "data.val_size=0.7", "data.batch_size=64")
    lookers = ("callbacks=inspect", *(f"~callbacks.{n}" for n in ("embeddings", "features", "probe", "shifts")))
    common = (*common, *model, *lookers, "test_flip=true")
    plain, compiled = (cnnlab.fit([*common, f"compile={c}", f"output_dir={tmp_path}/{c}"]) for c in ("false", "true"))
    for name in ("train/loss", "val/loss", "test/loss"):
        assert compiled.metrics[name] == pytest.approx(plain.metrics[name], rel=1e-3), name
    states = [read(run.directory / "checkpoints/best.ckpt")["state_dict"] for run in (plain, compiled)]
    assert states[0].keys() == states[1].keys()
    tags = [EventAccumulator(str(run.directory)).Reload().Tags() for run in (plain, compiled)]
    for kind in ("scalars", "images", "histograms"):
        assert tags[0][kind] == tags[1][kind] != []


def test_to_compile_takes_a_compiler(command, monkeypatch):
    monkeypatch.setenv("PATH", "")
    done = command("train", "compile=true")
    assert done.status == 1
    assert "it needs a C++ compiler" in done.stderr


def test_a_run_of_a_study_that_another_process_has_just_completed_is_not_run_again(digits_run, tmp_path):
    run = Run(shutil.copytree(digits_run.directory, tmp_path / "run"))
    before = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")}
    config = {**run.config, "study": {**run.config["study"], "variant": "baseline"}}
    with pytest.raises(InUseError):
        begin(config, run.directory, [])
    assert {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")} == before


class Counted(Callback):
    """Counts how often it is made."""

    made = 0

    def __init__(self) -> None:
        Counted.made += 1


def test_each_callback_of_a_run_is_made_once(command, tmp_path):
    quick = ["model=softmax", "data=xo", "data.train_size=64", "trainer=cpu", "trainer.max_epochs=1"]
    counted = "+callbacks.counted._target_=test_train.Counted"
    Counted.made = 0
    cnnlab.fit([*quick, counted, f"output_dir={tmp_path}"])
    assert Counted.made == 1
    assert command("train", *quick, counted).status == 0
    assert Counted.made == 2
