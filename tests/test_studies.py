"""A study on paper."""

import pytest

from cnnlab.runs.plan import Job, Plan, Variant
from cnnlab.studies.plan import width_for
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
