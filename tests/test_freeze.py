"""Layers that model.freeze names stay as they are, bit for bit; the others learn."""

import json
from functools import partial

import pytest
import torch
from children import forked
from test_resume import fitted, same, what_counts
from torch import nn

import cnnlab
from cnnlab.config.identity import config_hash
from cnnlab.models.network import Network
from cnnlab.packing.together import why_alone
from cnnlab.runs.checkpoints import read
from cnnlab.trained.run import Run
from cnnlab.training.muon import Muon
from cnnlab.training.optim import optimizer_of

IMAGE = (1, 9, 9)
LAYERS = {
    "stem": {"kind": "conv", "channels": 4, "kernel_size": 3, "padding": "same"},
    "b1_conv1": {"kind": "conv", "channels": 4, "kernel_size": 3, "padding": "same"},
    "b1_drop": {"kind": "dropout", "p": 0.5},
    "b1_add": {"kind": "add", "from": ["b1_drop", "stem"]},
    "fc": {"kind": "linear", "features": 8},
    "head": {"kind": "classifier"},
}
MODEL = {"name": "small", "norm": "batch", "activation": "relu", "layers": LAYERS}


def network(*freeze: str, **more) -> Network:
    return Network({**MODEL, "freeze": list(freeze), **more}, IMAGE, 3, mean=[0.5], std=[0.5])


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The layers that have another weight or statistic."""
    return {name.partition(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize(
    "make",
    [partial(torch.optim.SGD, lr=0.1, weight_decay=0.1), partial(torch.optim.AdamW, lr=0.1), partial(Muon, lr=0.1)],
)
@pytest.mark.parametrize("groups", [None, {"head.*": {"lr_factor": 2.0}, "*.bias": {"weight_decay": 0.0}}])
def test_frozen_layers_keep_weights_and_statistics(make, groups):
    net = network("stem", "b1_*").train()
    before, images = state(net), torch.randint(0, 256, (6, *IMAGE), dtype=torch.uint8)
    optimizer = optimizer_of(make, net, groups)
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    sizes = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert sizes == net.params == sum(p.numel() for p in [*net.fc.parameters(), *net.head.parameters()])
    assert not given & {id(p) for p in net.stem.parameters()}
    for _ in range(2):
        net(images).square().mean().backward()
        optimizer.step()
    assert changed(before, state(net)) == {"fc", "head"}


def test_dropout_and_norm_of_frozen_layers_are_in_evaluation_mode_whatever_is_set():
    net = network("b1_*")
    for mode in (True, False, True):
        net.train(mode)
        assert not net.b1_drop.training
        assert not net.b1_conv1.norm.training
        assert net.stem.norm.training is net.training is mode
    net.eval()
    net.fit_to(torch.zeros(2, *IMAGE))  # as before a training
    assert not net.b1_drop.training


def test_the_table_says_what_is_trained():
    net, whole = network("stem", "b1_*"), network()
    rows = {row.name: (row.params, row.frozen) for row in net.table}
    assert rows["stem"] == (0, 4 * 10 + 8)
    assert rows["b1_add"] == (0, 0)
    assert rows["head"] == (27, None)
    assert net.frozen == ["stem", "b1_conv1", "b1_drop", "b1_add"]
    assert net.params + sum(row.frozen or 0 for row in net.table) == whole.params
    assert net.macs == whole.macs
    assert whole.frozen == []


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (["stme"], 'model.freeze: no layer is called "stme"; did you mean "stem"?'),
        (["stem", "c*"], 'model.freeze: no layer is called "c*"'),
        (["*"], "model.freeze=[*] leaves nothing to train; freeze fewer layers"),
        (3, "model.freeze is a list of names, such as [conv2], not 3"),
    ],
)
def test_what_cannot_be_frozen_is_refused_in_one_line(freeze, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is the test
        Network({**MODEL, "freeze": freeze}, IMAGE, 3)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_layer_that_is_removed_may_be_frozen_so_that_studies_remove_any():
    assert network("fc", remove=["fc"]).frozen == []
    assert network("stem", "b1_*", remove=["b1_conv1"]).frozen == ["stem", "b1_drop", "b1_add"]


def test_a_projection_that_a_repair_inserts_is_frozen_by_its_name():
    layers = {**LAYERS, "b1_conv1": {**LAYERS["b1_conv1"], "channels": 6}}
    assert network("b1_repair", layers=layers, repair=True).frozen == ["b1_repair"]


def test_options_for_parameters_that_are_frozen_are_refused():
    with pytest.raises(ValueError, match=r'"stem.\*" is not trained; see model.freeze'):
        optimizer_of(partial(torch.optim.SGD, lr=0.1), network("stem"), {"stem.*": {"lr": 0.2}})


def test_freezing_nothing_changes_no_hash(composed):
    config = composed()
    earlier = {**config, "model": {k: v for k, v in config["model"].items() if k not in ("freeze", "repair")}}
    earlier["data"] = {k: v for k, v in config["data"].items() if k != "channels"}
    assert config_hash(config) == config_hash(earlier) != config_hash(composed("model.freeze=[conv1]"))


def test_a_run_with_frozen_layers_is_not_packed(composed):
    assert why_alone(composed("model=mlp", "trainer=cpu", "model.freeze=[fc1]")) == "frozen layers"


# --- runs

RECIPE = ["data=xo", "data.train_size=64", "data.test_size=32", "data.batch_size=16", "trainer=cpu"]
RECIPE += ["model=lenet5", "data.resize=28", "model.norm=batch", "model.dropout=0.5", "model.freeze=['conv*',fc3]"]
RECIPE += ["trainer.max_epochs=2", "trainer.log_every_n_steps=1"]
FROZEN = {"conv1", "conv2", "fc3"}


def trained_layers(run: Run) -> set[str]:
    """The layers of a run that are no longer as they started."""
    start = Network(run.config["model"], (1, 28, 28), 2, mean=[0.5], std=[0.5], seed=run.config["seed"])
    last = read(run.directory / "checkpoints/last.ckpt")["state_dict"]
    ours = {k.removeprefix("network."): v for k, v in last.items() if k.startswith("network.")}
    return changed(state(start), ours) - {"input"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["callbacks=ema", "callbacks.ema.decay=0.7"],
        ["callbacks=lookahead", "callbacks.lookahead.every=2", "optimizer=muon"],
        ["callbacks=inspect", "callbacks.health.every_n_epochs=1", "trainer.gradient_clip_val=0.1"],
        ["trainer=ddp_cpu", "callbacks=ema"],
    ],
    ids=["ema", "lookahead", "lookers", "ddp"],
)
def test_a_run_trains_the_others_alone(tmp_path, more):
    run = cnnlab.fit([*RECIPE, *more, f"output_dir={tmp_path}"])
    assert run.status == "completed"
    assert trained_layers(run) == {"fc4", "head"}
    assert run.metrics["params"] < 12_000
    assert "eval mode" not in (run.directory / "train.log").read_text()


@pytest.mark.slow
def test_a_run_with_frozen_layers_resumes_bit_identical(tmp_path):
    more = ("model.freeze=['conv*']",)
    stopped = fitted(tmp_path / "stopped", *more, stops=(4,))
    same(what_counts(stopped), what_counts(fitted(tmp_path / "whole", *more)))


@pytest.mark.slow
def test_frozen_layers_start_as_the_run_that_init_from_names_has_them(tmp_path):
    first = cnnlab.fit([*RECIPE, "model.freeze=[]", f"output_dir={tmp_path}/first"])
    second = cnnlab.fit([*RECIPE, "seed=1", f"init_from={first.directory}", f"output_dir={tmp_path}/second"])
    best = read(first.directory / "checkpoints/best.ckpt")["state_dict"]
    last = read(second.directory / "checkpoints/last.ckpt")["state_dict"]
    ours = {k: v for k, v in best.items() if k.startswith("network.") and ".input." not in k}
    assert {name.partition(".")[0] for name in ours} == {"network"}
    differ = {k.split(".")[1] for k, v in ours.items() if not torch.equal(v, last[k])}
    assert differ == {"fc4", "head"}


@pytest.mark.slow
def test_a_frozen_layer_that_init_from_has_not_is_refused(digits_run):
    with pytest.raises(ValueError, match=r"no weights of the name and shape of conv1, which model.freeze would") as e:
        cnnlab.fit([*RECIPE, "model.norm=null", "model.layers.conv1.channels=8", f"init_from={digits_run.directory}"])
    assert "\n" not in str(e.value)


@pytest.mark.slow
def test_summary_shows_what_is_frozen(tmp_path):
    done = forked("summary", "model.freeze=['conv*']", cwd=tmp_path)
    assert "params  frozen     macs" in done.stdout
    assert done.stdout.splitlines()[-1].split()[:3] == ["total", "59,134", "2,572"]
    table = json.loads(forked("summary", "model.freeze=['conv*']", "format=json", cwd=tmp_path).stdout)
    assert [layer.get("frozen") for layer in table["layers"]] == [156, None, 2416, None, None, None, None]
    assert (table["params"], table["frozen"]) == (59_134, 2572)
    assert "frozen" not in forked("summary", cwd=tmp_path).stdout
