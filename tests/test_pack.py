"""Runs trained together leave what each would have left alone."""

import csv
import os
import signal
import warnings

import pytest
import torch

from cnnlab.models.network import Network
from cnnlab.packing import members, pack
from cnnlab.packing.stacked import Stacked, structure
from cnnlab.packing.together import PackedRun, kin, train_together, why_alone
from cnnlab.runs.checkpoints import read
from cnnlab.studies.execute import Task, packed
from cnnlab.trained.run import Run
from cnnlab.training.assemble import meta_network
from cnnlab.training.run import train

pytestmark = pytest.mark.slow

SHORT = ("trainer=cpu", "trainer.max_epochs=2", "data.val_size=0.75", "data.batch_size=64")
DENSE = ("model=mlp", "model.dropout=0.3", "model.norm=batch")
CONVOLUTIONS = ("model=lenet5", "+model.layers.conv1.norm=batch", "model.dropout=0.2")
TIMES = {"fit_seconds", "train_images_per_second"}


@pytest.fixture
def both(composed, tmp_path):
    """Runs of the same configs, trained alone and together."""

    def train_both(common: tuple[str, ...], *own: tuple[str, ...]) -> list[tuple[Run, Run]]:
        configs = [composed(*SHORT, *common, *overrides) for overrides in own]
        places = [(tmp_path / f"alone{m}", tmp_path / f"together{m}") for m in range(len(configs))]
        for config, (alone, _) in zip(configs, places, strict=True):
            train(config, alone)
        assert len({kin(config) for config in configs}) == 1
        outcomes = train_together([PackedRun(c, p[1], []) for c, p in zip(configs, places, strict=True)])
        assert not [o for o in outcomes if isinstance(o, Exception)]
        return [(Run.load(alone), Run.load(together)) for alone, together in places]

    return train_both


def rows(run: Run) -> list[dict[str, float]]:
    """What the CSV logger has of each step and epoch, times left out, one dict for each step."""
    by_step: dict[str, dict[str, float]] = {}
    with (run.directory / "csv/version_0/metrics.csv").open() as file:
        for row in csv.DictReader(file):
            known = {k: float(v) for k, v in row.items() if v and k != "train/images_per_second"}
            by_step[row["step"]] = by_step.get(row["step"], {}) | known
    return list(by_step.values())


def assert_alike(alone: Run, together: Run, **tolerance: float) -> None:
    assert together.status == "completed"
    for name in ("best", "last"):
        ours, theirs = (read(run.directory / f"checkpoints/{name}.ckpt") for run in (together, alone))
        assert ours.keys() == theirs.keys()
        assert ours["callbacks"].keys() == theirs["callbacks"].keys()
        assert ours["hyper_parameters"] == theirs["hyper_parameters"]
        for key, value in theirs["state_dict"].items():
            torch.testing.assert_close(ours["state_dict"][key], value, **tolerance)
        torch.testing.assert_close(ours["optimizer_states"], theirs["optimizer_states"], **tolerance)
        assert ours["lr_schedulers"] == theirs["lr_schedulers"]
        assert ours["global_step"] == theirs["global_step"]
    measured = {k: v for k, v in together.metrics.items() if k not in TIMES}
    assert measured == pytest.approx({k: v for k, v in alone.metrics.items() if k not in TIMES}, rel=1e-3, abs=1e-5)
    for ours, theirs in zip(rows(together), rows(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert {p.name.split(".")[0] for p in together.directory.iterdir()} >= {
        p.name.split(".")[0] for p in alone.directory.iterdir()
    }


def test_dense_networks_are_computed_as_one(both, monkeypatch):
    made = []
    monkeypatch.setattr(members, "Stacked", lambda *a, real=members.Stacked: made.append(real(*a)) or made[-1])
    own = [("seed=0",), ("seed=0", "model.dropout=0.5"), ("seed=3", "optimizer.lr=0.01"), ("seed=1", "augment=none")]
    for alone, together in both(("precision=64-true", *DENSE), *own):
        assert_alike(alone, together, rtol=1e-7, atol=1e-9)
    assert len(made) == 1


def test_so_are_networks_for_points(both):
    own = ("data=points", "data.train_size=200", "data.val_size=5000", "model=points_mlp")  # it splits nothing off
    common = ("precision=64-true", *own)
    for alone, together in both(common, ("seed=0",), ("seed=1",)):
        assert_alike(alone, together, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("optimizer", ["adadelta", "muon", "sgd"])
def test_neighbours_with_one_recipe_are_stepped_as_one(both, optimizer):
    common = ("precision=64-true", f"optimizer={optimizer}", "trainer.gradient_clip_val=0.05", *DENSE)
    own = [("seed=0",), ("seed=1",), ("seed=2", "optimizer.lr=0.01"), ("seed=3", "optimizer.lr=0.01")]
    for alone, together in both(common, *own):
        assert_alike(alone, together, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "model",
    [
        "model=lenet5",
        "model=alexnet_cifar model.width=0.1 data.resize=32",
        "model=xo_cnn",
        "model=resnet20 model.width=0.25 data.resize=14 model.remove=['s*b2_*','s*b3_*','s3*']",
        "model=inception_cifar model.width=0.125 data.resize=14 +model.layers.i1a_conv3.dropout=0.2 "
        "model.remove=['i1b*','i2*','i3*']",
    ],
)
def test_convolutions_computed_as_one(both, model):
    common = ("precision=64-true", "trainer.max_epochs=1", "optimizer=sgd", *model.split())
    for alone, together in both(common, ("seed=0",), ("seed=1", "label_smoothing=0.1")):
        assert_alike(alone, together, rtol=1e-6, atol=1e-8)


def test_convolutions_stay_contiguous_which_batch_norm_on_a_gpu_asks_for(composed):
    model = composed("model=resnet20")["model"]
    networks = [Network(model, (3, 32, 32), 10, mean=[0.5] * 3, std=[0.5] * 3, seed=seed) for seed in (0, 1)]
    stacked = Stacked([network.to(memory_format=torch.channels_last) for network in networks], lambda m: None)
    images = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a pool of tensors with channels last has no rule of vmap's
        assert stacked(images).shape == (2, 4, 10)


def test_values_and_channels_dropped_as_one(both):
    dropout = ("+model.layers.drop={kind: channel_dropout, p: 0.5, after: pool1}", "+model.layers.conv2.dropout=0.2")
    common = ("precision=64-true", "trainer.max_epochs=1", *CONVOLUTIONS, *dropout)
    for alone, together in both(common, ("seed=0",), ("seed=1",)):
        assert_alike(alone, together, rtol=1e-6, atol=1e-8)


def test_who_diverges_fails_and_leaves_the_others_alone(composed, tmp_path):
    sgd = (*SHORT, "model=mlp", "precision=64-true", "optimizer=sgd")
    configs = [composed(*sgd, f"optimizer.lr={lr}") for lr in (0.01, 1e30, 0.02)]
    outcomes = train_together([PackedRun(c, tmp_path / str(m), []) for m, c in enumerate(configs)])
    assert [type(o) for o in outcomes] == [dict, FloatingPointError, dict]
    failed = Run.load(tmp_path / "1")
    assert failed.status == "failed"
    assert "epoch 1, step 1" in failed.info["cause"]
    train(configs[2], tmp_path / "alone")
    assert_alike(Run.load(tmp_path / "alone"), Run.load(tmp_path / "2"), rtol=1e-6, atol=1e-8)


def test_where_nobody_waits_who_diverges_fails_a_step_later(composed, tmp_path, monkeypatch):
    monkeypatch.setattr(pack.Pack, "defers", lambda _: True)  # as on a GPU
    rates = (0.01, 1e30, 0.01)
    configs = [
        composed(*SHORT, "model=mlp", "optimizer=sgd", f"optimizer.lr={lr}", f"seed={m}") for m, lr in enumerate(rates)
    ]
    outcomes = train_together([PackedRun(c, tmp_path / str(m), []) for m, c in enumerate(configs)])
    assert [type(o) for o in outcomes] == [dict, FloatingPointError, dict]
    assert Run.load(tmp_path / "1").info["cause"].endswith("epoch 1, step 1: the loss is nan; lower optimizer.lr")
    train(configs[2], tmp_path / "alone")
    assert_alike(Run.load(tmp_path / "alone"), Run.load(tmp_path / "2"), rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_not_finite_when_it_is_saved_fails_its_run_alone(composed, tmp_path, monkeypatch):
    taken = []

    def step(self, alive, epoch_ends, real=members.Members.step):
        real(self, alive, epoch_ends)
        taken.append(alive)
        if len(taken) == 3:
            self.members[1].network.get_parameter("fc1.linear.weight").data[0, 0] = torch.inf

    monkeypatch.setattr(members.Members, "step", step)
    configs = [composed(*SHORT, "model=mlp", "checkpoint_every=1", f"seed={seed}") for seed in range(3)]
    outcomes = train_together([PackedRun(c, tmp_path / str(m), []) for m, c in enumerate(configs)])
    assert [type(o) for o in outcomes] == [dict, FloatingPointError, dict]
    assert "a weight of fc1 is not finite at step 3" in Run.load(tmp_path / "1").info["cause"]
    assert torch.isfinite(read(tmp_path / "1/checkpoints/last.ckpt")["state_dict"]["network.fc1.linear.weight"]).all()


def test_where_all_diverge_all_fail(composed, tmp_path):
    configs = [composed(*SHORT, "optimizer=sgd", "model.activation=relu", f"optimizer.lr={lr}") for lr in (1e30, 1e35)]
    outcomes = train_together([PackedRun(c, tmp_path / str(m), []) for m, c in enumerate(configs)])
    assert [type(o) for o in outcomes] == [FloatingPointError, FloatingPointError]
    assert {Run.load(tmp_path / str(m)).status for m in (0, 1)} == {"failed"}


def test_an_interrupted_pack_is_resumed_one_by_one(composed, tmp_path, monkeypatch):
    configs = [composed(*SHORT, "model=softmax", f"seed={seed}") for seed in (0, 1)]
    places = [tmp_path / "0", tmp_path / "1"]

    def step(self, batch, batch_idx, real=pack.Pack.training_step):
        if self.trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, batch, batch_idx)

    monkeypatch.setattr(pack.Pack, "training_step", step)
    with pytest.raises(KeyboardInterrupt):
        train_together([PackedRun(c, p, []) for c, p in zip(configs, places, strict=True)])
    assert {Run.load(p).status for p in places} == {"interrupted"}
    assert read(places[0] / "checkpoints/last.ckpt")["global_step"] == 7
    for config, place in zip(configs, places, strict=True):
        train(config, place)
        train(config, tmp_path / f"alone{place.name}")
        ours, theirs = (Run.load(d) for d in (place, tmp_path / f"alone{place.name}"))
        for key, value in theirs.network("last").state_dict().items():
            torch.testing.assert_close(ours.network("last").state_dict()[key], value)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trainer=ddp_cpu", "several processes"),
        ("callbacks=ema", "callbacks"),
        ("compile=true", "compile"),
        ("precision=16-mixed", "16-bit"),
        ("model.activation=rrelu", "random"),
        ("model=lenet5", "convolutions on a CPU"),
        ("scheduler=constant scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau", "a schedule"),
    ],
)
def test_some_are_trained_alone(composed, override, reason):
    config = composed("trainer=cpu", "model=mlp", *override.split())
    assert kin(config) is None
    assert why_alone(config).startswith(reason)


def test_a_study_says_what_is_trained_alone(command):
    done = command("train", "-m", "study.pack=2", "seed=0,1", "trainer=cpu", "study.plan_only=true")
    said = [line for line in done.stdout.splitlines() if line.startswith("study.pack")]
    assert said == ["study.pack   one after the other because of convolutions on a CPU, which gain nothing: baseline"]


def test_only_kin_are_packed(composed, tmp_path):
    short = (*SHORT, "model=mlp")
    base = kin(composed(*short))
    assert base is not None
    for same in (
        "seed=7",
        "optimizer.lr=0.5",
        "optimizer=muon",
        "model.dropout=0.4",
        "augment=none",
        "label_smoothing=0.2",
    ):
        assert kin(composed(*short, same)) == base, same
    residual = (*SHORT, "model=resnet20")
    whole, shorter = (
        meta_network(composed(*residual, *own)) for own in ((), ("model.layers.s1b3_add.from=[s1b3_conv2,s1b1_add]",))
    )
    assert whole.state_dict().keys() == shorter.state_dict().keys()
    assert structure(whole) != structure(shorter)
    for other in ("model.layers.fc1.features=64", "data.batch_size=32", "precision=64-true", "model.activation=tanh"):
        assert kin(composed(*short, other)) != base, other

    def task(name: str, kin: str | None) -> Task:
        return Task([], tmp_path / name, kin)

    (tmp_path / "begun/checkpoints").mkdir(parents=True)
    (tmp_path / "begun/checkpoints/last.ckpt").touch()
    tasks = [task("a1", "a"), task("b1", "b"), task("begun", "a"), task("a2", "a"), task("x", None), task("a3", "a")]
    assert [[t.directory.name for t in p] for p in packed(tasks, 2)] == [["a1", "a2"], ["b1"], ["begun"], ["x"], ["a3"]]
    assert [len(p) for p in packed(tasks, 1)] == [1] * 6


def test_a_packed_study_reports_what_an_unpacked_one_does(command, tmp_path):
    request = ["train", "-m", *SHORT, "model=mlp", "optimizer.lr=0.01,0.001", "seed=0,1"]
    tables = []
    for size in (1, 3):
        done = command(*request, f"study.pack={size}", f"study.name=pack{size}")
        assert done.status == 0, done.stderr
        with (tmp_path / f"outputs/studies/pack{size}/results.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    alone, together = tables
    assert [r["run_dir"] for r in alone] == [r["run_dir"] for r in together]
    for key in ("variant", "seed", "status", "params", "epochs"):
        assert [r[key] for r in alone] == [r[key] for r in together]
    assert [float(r["test/acc"]) for r in together] == pytest.approx([float(r["test/acc"]) for r in alone], abs=0.01)
    run = Run.load(tmp_path / "outputs/studies/pack3" / together[0]["run_dir"])
    assert len(run.info["packed_with"]) == 2
    other = Run.load(tmp_path / "outputs/studies/pack1" / alone[0]["run_dir"])
    ours, theirs = ({o for o in r.info["overrides"] if not o.startswith("study.")} for r in (run, other))
    assert ours == theirs
    assert (run.directory / ".hydra/config.yaml").is_file()
