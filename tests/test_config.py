import pytest
import torch

from cnnlab.config.compose import compose, load_config, plain, quote, resumed_config, write_composed
from cnnlab.config.errors import EXPECTED
from cnnlab.config.saved import read_yaml, resolve
from cnnlab.config.targets import target


def test_target_takes_only_what_its_place_is_for():
    with pytest.raises(ValueError, match=r"os\.system is no Optimizer"):
        target({"_target_": "os.system"}, torch.optim.Optimizer)
    with pytest.raises(ValueError, match="is no Optimizer"):
        target({"_target_": "torch.nn.Linear"}, torch.optim.Optimizer)
    with pytest.raises(ValueError, match="cannot be imported"):
        target({"_target_": "no.such.module"}, torch.optim.Optimizer)
    with pytest.raises(ValueError, match=r'no option "lrr"; did you mean "lr"\?'):
        target({"_target_": "torch.optim.SGD", "lrr": 1}, torch.optim.Optimizer)


def test_target_takes_other_callables_from_trusted_modules():
    assert (
        target({"_target_": "os.path.join"}, torch.optim.Optimizer, trusted=["posixpath", "os.path"])("a", "b") == "a/b"
    )


def test_options_of_a_base_class_are_known():
    made = target(
        {"_target_": "cnnlab.training.optim.Cosine", "warmup_epochs": 1}, torch.optim.lr_scheduler.LRScheduler
    )
    assert made.keywords == {"warmup_epochs": 1}


@pytest.mark.parametrize("path", ["a b", "it's", "a=b,c", "x(1)[2]{3}", "x${HOME}", "back\\slash"])
def test_paths_may_hold_anything(path):
    assert plain(compose("predict", [f"run={path}", "images=x"])[0], "predict")["run"] == path


def test_quote_leaves_lists_and_plain_paths_alone():
    for override in ("images=[a,b]", "data_dir=/tmp/x", "model.remove=[conv1]", "run='a b'"):
        assert quote(override) == override


def test_two_runs_of_the_same_second_have_two_directories():
    assert compose("train", [])[1] != compose("train", [])[1]


def test_run_names_hold_only_safe_characters():
    directory = compose("train", ["run_name='a b/c=d'"])[1]
    assert directory.name.split("-", 5)[-1].startswith("a_b_c_d-") or "a_b_c_d" in directory.name


def test_a_written_config_is_read_back_with_few_changes(tmp_path):
    composed, _ = compose("train", ["model=mlp"])
    write_composed(composed, tmp_path, ["model=mlp"])
    assert load_config(tmp_path) == plain(composed)
    assert resumed_config(tmp_path, ["trainer.max_epochs=3"])["trainer"]["max_epochs"] == 3
    with pytest.raises(ValueError, match="whole group"):
        resumed_config(tmp_path, ["model=lenet5"])
    with pytest.raises(ValueError, match="no run directory"):
        load_config(tmp_path / "nothing")


def test_users_own_configs_come_from_a_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("name: mine\nlayers: {head: {kind: classifier}}\nremove: []\n")
    assert plain(compose("train", ["model=mine"], tmp_path)[0])["model"]["name"] == "mine"


SAVED = {
    "values": "{a: 1, b: [x, 2.5, null, {c: true}], c: 1e-3, d: 2020-01-01, e: 'on', f: .inf, 3: y, g: {}}",
    "interpolations": "{a: '${b.c}', b: {c: '${d}', e: '${.c}'}, d: '${oc.env:NOTHING,${f}}', f: 2, g: ['${f}']}",
    "relative": "{a: {b: {c: '${...d.e}'}}, d: {e: 4}, f: ['${a.b}', '${d}']}",
    "computed": "{which: model, model: {a: 1}, a: '${${which}.a}', b: '${oc.select:${which}.a,0}'}",
    "escaped": "{a: '\\\\${b}', b: 1, c: 'x\u00e4${b}'}",
    "bytes": "{a: !!binary aGk=, b: '${a}'}",
}


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_config_is_read_as_omegaconf_reads_it(tmp_path, name):
    from omegaconf import OmegaConf

    path = tmp_path / "config.yaml"
    path.write_text(SAVED[name])
    expected = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert resolve(read_yaml(path)) == expected
    assert list(resolve(read_yaml(path))) == list(expected)


@pytest.mark.parametrize("text", ["{a: ???}", "{a: '${b}'}", "{a: 1, a: 2}", "!!python/object/apply:os.getcwd []"])
def test_a_saved_config_that_omegaconf_refuses_is_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(EXPECTED):
        resolve(read_yaml(path))
