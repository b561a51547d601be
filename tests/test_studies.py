"""A study on paper."""

from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext

from cnnlab.config.compose import conf_dir, plain
from cnnlab.config.errors import EXPECTED, explain
from cnnlab.runs.plan import Job, Plan, Variant
from cnnlab.studies.configs import Configs
from cnnlab.studies.plan import Estimates, width_for
from cnnlab.studies.removals import blocks_to_leave_out, layers_to_leave_out
from cnnlab.training.assemble import meta_network


@pytest.mark.parametrize("measure", ["params", "macs"])
def test_a_twins_width_meets_the_wanted_capacity(composed, measure):
    whole = composed("model=alexnet_cifar", "data=cifar10")
    less = composed("model=alexnet_cifar", "data=cifar10", "model.remove=[conv3,conv4]")
    wanted = getattr(meta_network(whole), measure)
    width = width_for(less, measure, wanted)
    twin = meta_network({**less, "model": {**less["model"], "width": width}})
    assert getattr(twin, measure) == pytest.approx(wanted, rel=0.02)


def test_a_capacity_that_no_width_gives_is_refused(composed):
    with pytest.raises(ValueError, match=r"no model.width comes nearer than -?\+?[\d.]+%"):
        width_for(composed("model=mlp"), "params", 10**9)


def test_leaving_out_takes_globs_and_never_the_classifier(composed):
    model = composed("model=lenet5")["model"]
    assert layers_to_leave_out(model, ["*"], "leave_out") == ["conv1", "pool1", "conv2", "pool2", "fc3", "fc4"]
    assert layers_to_leave_out(model, ["fc*", "pool1"], "leave_out") == ["pool1", "fc3", "fc4"]
    assert layers_to_leave_out({**model, "remove": ["conv1"]}, ["conv*"], "leave_out") == ["conv2"]
    with pytest.raises(ValueError, match="matches none of conv1, pool1"):
        layers_to_leave_out(model, ["head"], "leave_out")


BLOCKS = {
    "stem_conv": {"kind": "conv", "channels": 4, "kernel_size": 3, "padding": "same"},
    "b1_conv1": {"kind": "conv", "channels": 4, "kernel_size": 3, "padding": "same"},
    "b1_conv2": {"kind": "conv", "channels": 4, "kernel_size": 3, "padding": "same"},
    "b1_x_conv": {"kind": "conv", "channels": 4, "kernel_size": 1},
    "b1_x_pool": {"kind": "maxpool", "kernel_size": 1},
    "b1_add": {"kind": "add", "from": ["b1_x_pool", "stem_conv"]},
    "pool": {"kind": "adaptive_avgpool"},
    "out_fc": {"kind": "linear", "features": 8},
    "out_head": {"kind": "classifier"},
}


def test_blocks_are_layers_whose_names_have_the_same_beginning(composed):
    model = {"name": "small", "layers": BLOCKS}
    one, two = ["b1_conv1", "b1_conv2", "b1_add"], ["b1_x_conv", "b1_x_pool"]
    # a layer alone is no block, and one that holds the classifier has to stay
    assert blocks_to_leave_out(model) == {"b1": one, "b1_x": two}
    assert blocks_to_leave_out({**model, "remove": ["b1_conv2"]}) == {"b1": ["b1_conv1", "b1_add"], "b1_x": two}
    assert blocks_to_leave_out({**model, "remove": two}) == {"b1": ["b1_conv1", "b1_conv2", "b1_add"]}
    found = blocks_to_leave_out(composed("model=resnet20", "data=cifar10")["model"])
    assert list(found) == [f"s{s}b{b}" for s in (1, 2, 3) for b in (1, 2, 3)]
    assert found["s2b1"] == ["s2b1_conv1", "s2b1_conv2", "s2b1_proj", "s2b1_add"]


def test_a_network_without_blocks_is_refused(composed):
    with pytest.raises(ValueError, match=r"^study.leave_out_blocks: lenet5 has no blocks"):
        blocks_to_leave_out(composed("model=lenet5")["model"])


def test_leaving_out_takes_the_sums_of_a_graph_too(composed):
    names = layers_to_leave_out(composed("model=resnet20", "data=cifar10")["model"], ["*"], "leave_out")
    assert len(names) == 31  # all but the classifier
    assert {"stem", "s1b1_add", "s2b1_proj", "pool"} <= set(names)


def plan(identity: str, *names: str) -> Plan:
    jobs = [Job(name, 0, f"{name}-s0-x", "x") for name in names]
    return Plan("p", names[0], identity, ["command"], [], [Variant(name, []) for name in names], jobs)


def test_a_plan_is_extended_by_one_of_the_same_study_and_replaced_by_another(tmp_path):
    plan("a", "baseline", "one").write(tmp_path)
    plan("a", "baseline", "two").write(tmp_path)
    assert [v.name for v in Plan.load(tmp_path).variants] == ["baseline", "two", "one"]
    assert len(Plan.load(tmp_path).jobs) == 3
    plan("b", "baseline", "three").write(tmp_path)
    assert [v.name for v in Plan.load(tmp_path).variants] == ["baseline", "three"]
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        Plan.load(tmp_path)


@pytest.fixture
def variants():
    """Makes configs of variants, and what Hydra composes of the same overrides."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())

        def make(*fixed: str):
            config = compose("train", list(fixed), return_hydra_config=True)
            own = ["seed=3", "study.name=x"]

            def by_hydra(*overrides: str, **changes: int):
                every = [*fixed, *overrides, *own, *(f"{k}={v}" for k, v in changes.items())]
                return plain(context.config_loader.load_sweep_config(config, every))

            return Configs(context, config, fixed, own), by_hydra

        yield make


VARIANTS = [
    [],
    ["model.width=2"],
    ["model=mlp"],
    ["model.width=2", "model=mlp", "label_smoothing=0.1"],
    ["model={name: other, remove: [conv2]}"],
    ["~model.layers.conv2", "+model.layers.x={kind: norm, after: conv1}"],
    ["model.remove=[conv1]", "++model.remove=[conv2]"],
    ["optimizer=sgd", "scheduler=constant", "augment=affine", "optimizer.lr=0.5"],
    ["augment=null", "callbacks=ema", "~callbacks"],
    ["data=xo", "data.split_seed=${seed}"],
    ["hydra.job.name=x", "precision=bf16-mixed"],
    ["seed=9", "study.margin=0.5"],
    ["optimizer.nothing=1"],
    ["+optimizer.lr=1"],
    ["model=none_such"],
    ["model@other=mlp"],
    ["trainer.max_epochs=1,2"],
]


def test_the_config_of_a_run_is_what_hydra_composes_of_its_overrides(variants):
    configs, by_hydra = variants("model=lenet5", "optimizer.lr=0.2")

    def outcome(function, *arguments, **options):
        try:
            return function(*arguments, **options)
        except EXPECTED as error:
            return type(error), explain(error)

    for overrides in VARIANTS:
        expected = outcome(by_hydra, *overrides, **{"seed": 5, "data.split_seed": 6})
        assert outcome(configs.run, overrides, 5, 6) == expected, overrides
    assert configs.variant(["model.width=2"]) == by_hydra("model.width=2")
    configs, _ = variants("run_name=split_${data.split_seed}")
    assert [configs.run([], seed, seed)["run_name"] for seed in (5, 6)] == ["split_5", "split_6"]


def test_variants_of_the_same_groups_are_composed_from_files_once(variants):
    configs, _ = variants("model=lenet5")
    loads = []
    load, configs._loader = configs._loader, SimpleNamespace(load_sweep_config=lambda *a: loads.append(a) or load(*a))
    load = load.load_sweep_config
    for width in range(1, 4):
        for model in ("lenet5", "mlp"):
            overrides = [f"model={model}", f"model.width={width}"]
            assert [configs.run(overrides, seed)["seed"] for seed in range(3)] == [0, 1, 2]
    assert len(loads) == 2


def test_a_network_is_timed_once_and_one_of_its_size_not_at_all_when_that_took_long(composed, monkeypatch):
    estimates, config = Estimates(), composed("model=lenet5")
    seconds = estimates.seconds(config, 416_520)
    assert estimates.seconds(composed("model=lenet5", "optimizer.lr=1"), 416_520) == seconds
    wider = composed("model=lenet5", "model.width=1.1")
    monkeypatch.setattr("cnnlab.studies.plan.TIMING", 0)
    assert estimates.seconds(wider, 500_000) == pytest.approx(seconds * 500_000 / 416_520)
    monkeypatch.setattr("cnnlab.studies.plan.step_seconds", lambda network, *_: 1.0)  # as none of so few steps takes
    assert estimates.seconds(composed("model=mlp"), 101_632) > 10 * seconds
    fewer = composed("model=lenet5", "+trainer.limit_val_batches=0", "+trainer.limit_test_batches=0")
    assert estimates.seconds(fewer, 416_520) < 0.97 * seconds
    half = composed("model=lenet5", "+trainer.limit_train_batches=0.5", "+trainer.limit_val_batches=0.5")
    assert estimates.seconds(half, 416_520) == pytest.approx(seconds / 2, rel=0.02)
