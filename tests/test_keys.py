"""No key is ignored: a misspelt one is refused in one line, wherever it stands."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from shipped import usual_input

import cnnlab
from cnnlab.config.compose import compose, conf_dir, plain
from cnnlab.config.errors import EXPECTED, explain
from cnnlab.config.identity import LATER
from cnnlab.models.network import Network
from cnnlab.training.validate import check

pytestmark = pytest.mark.slow

FILES = sorted(p.relative_to(conf_dir()).as_posix() for p in conf_dir().rglob("*.yaml"))
COMMANDS = {"evaluate": ["run=x"], "export": ["run=x"], "inspect": ["run=x"], "play": ["run=x"],
            "predict": ["run=x", "images=x"], "report": [], "robustness": ["run=x"],
            "summary": [], "train": []}  # fmt: skip
PACKAGES = {
    "common/data.yaml": "data",
    "common/sound.yaml": "data",
    "common/model.yaml": "model",
    "common/trainer.yaml": "trainer",
}
# whose keys are names that anybody may choose
NAMES = ("layers", "variants", "callbacks", "logger", "hydra.callbacks", "hydra.sweeper.params")


def paths(node, prefix=()):
    """The path of every key of nested mappings."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*prefix, key)
            yield from paths(value, (*prefix, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from paths(value, (*prefix, index))


def is_name(file: str, path: tuple) -> bool:
    """Whether a key is a name that anybody may choose, or is of Hydra's defaults list, which Hydra looks at."""
    group = file.partition("/")[0]
    above = ".".join(map(str, path[:-1]))
    if "defaults" in path[:-1] or above.startswith("hydra.callbacks"):
        return True
    return any(above == n or above.endswith(f".{n}") for n in NAMES) or (group in ("callbacks", "logger") and not above)


def spoilt(content: dict, path: tuple, key: str) -> dict:
    """A copy in which the key at a path is another; the order stays."""
    first, *rest = path
    if isinstance(content, list):
        return [spoilt(v, tuple(rest), key) if i == first else v for i, v in enumerate(content)]
    if not rest:
        return {key if k == first else k: v for k, v in content.items()}
    return {k: spoilt(v, tuple(rest), key) if k == first else v for k, v in content.items()}


def command_of(file: str) -> tuple[str, list[str]]:
    """The command that reads a file, and the overrides with which it does."""
    group, _, choice = file.removesuffix(".yaml").rpartition("/")
    if choice in COMMANDS and not group:
        return choice, COMMANDS[choice]
    if file == "common/sound.yaml":
        return "train", ["data=spoken_digits"]
    if group in ("common", ""):
        return "train", ["data=digits"]
    if choice in ("sentence_trec", "sentence_sst2", "word_order"):  # which set keys of their data
        return "train", [f"{group}={choice}", "model=sentence_cnn"]
    beside = {"model": [], "data": ["model=softmax"]}.get(group, ["data=digits"])
    return "train", [f"{group}={choice}", *beside]


@cache
def sentences() -> str:
    """A file of sentences."""
    path = Path(mkdtemp()) / "train.tsv"
    path.write_text("".join(f"{'ab'[n % 2]}\tword{n} and {n % 7}\n" for n in range(200)))
    return str(path)


def refusal(file: str, config: DictConfig) -> str | None:
    """What the command that reads a file says of its composed config, if it refuses it."""
    command, _ = command_of(file)
    group, _, choice = file.removesuffix(".yaml").rpartition("/")
    try:
        taken = plain(config, command)
        if (taken.get("data") or {}).get("name") in ("trec", "sst2"):  # whose files are perhaps not there
            taken["data"] |= {"name": "text_file", "path": sentences(), "val": None, "test": None, "val_size": 0.1}
        if group == "model":
            build(choice, taken["model"])
        elif command == "train" and (
            group != "data" or choice in ("digits", "points", "spoken_digits", "xo", "xo_tricky")
        ):
            check(taken)
    except EXPECTED as error:
        return explain(error)
    return None


@contextmanager
def spoilt_file(conf: Path, file: str, at: tuple, wrong: str) -> Iterator[None]:
    """A file in which a key is another, until the end."""
    text = (conf / file).read_text()
    package = text.partition("\n")[0] + "\n" if text.startswith("# @package") else ""
    content = spoilt(yaml.safe_load(text), at, wrong)
    (conf / file).write_text(package + yaml.safe_dump(content, sort_keys=False))
    yield
    (conf / file).write_text(text)


def refusal_of_a_file(file: str) -> str | None:
    """What the command says that reads the file as it now is, if it refuses it."""
    command, overrides = command_of(file)
    try:
        return refusal(file, compose(command, overrides)[0])
    except EXPECTED as error:
        return explain(error)


def build(choice: str, model: dict) -> None:
    with torch.device("meta"):
        Network(model, *usual_input(choice))


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """A copy of the shipped configs, which the commands read."""
    folder = tmp_path_factory.mktemp("conf") / "conf"
    shutil.copytree(conf_dir(), folder)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("command", "compose", "errors"):
            patch.setattr(f"cnnlab.config.{module}.conf_dir", lambda: folder)
        patch.setattr("cnnlab.training.validate._accelerator", lambda name: None)  # for trainer=gpu on any machine
        yield folder


def keys_of(file: str) -> list[tuple]:
    """The paths of a file's keys that are no names of somebody's choice."""
    content = yaml.safe_load((conf_dir() / file).read_text()) or {}
    return [at for at in paths(content) if not is_name(file, at)]


def misses(said: str | None, at: tuple, wrong: str) -> bool:
    """Whether a refusal is none, or does not say what is wrong; without `defaults` much is."""
    return said is None or "\n" in said or not (wrong in said or at[-1] in said or at[-1] == "defaults")


def unnoticed(conf: Path, file: str, keys: list[tuple]) -> list[tuple]:
    """The keys of a file whose misspelling is not refused in a line that says so, with what is said.

    The first key, and those that Hydra itself looks at, are spoilt in the file, the others in what is composed of it:
    composing takes most of the time.
    """
    command, overrides = command_of(file)
    composed = OmegaConf.to_container(compose(command, overrides)[0])
    everywhere = (conf_dir() / file).read_text().startswith("# @package _global_") or "/" not in file
    package = () if everywhere else (PACKAGES.get(file) or file.partition("/")[0],)
    found = []
    for at in keys:
        wrong = f"{at[-1]}q"
        if at == keys[0] or at[0] in ("defaults", "hydra"):
            with spoilt_file(conf, file, at, wrong):
                said = refusal_of_a_file(file)
        else:
            said = refusal(file, OmegaConf.create(spoilt(composed, package + at, wrong)))
        if misses(said, at, wrong):
            found.append((at, said))
    return found


@pytest.mark.parametrize("file", [f for f in FILES if not f.startswith(("hydra/", "model/"))])
def test_every_key_of_every_shipped_config_is_refused_when_it_is_misspelt(conf, file):
    assert unnoticed(conf, file, [at for at in keys_of(file) if at[:2] != ("hydra", "sweeper")]) == []


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("model/")])
def test_so_is_every_key_of_every_model(conf, file):
    choice = Path(file).stem
    whole = plain(compose("train", [f"model={choice}"])[0])["model"]
    build(choice, whole)
    options = [at for at in keys_of(file) if at[0] == "layers" and len(at) > 1]
    # they are looked at when a layer is built; one of each name for each kind, because deep networks have hundreds
    for at in {(whole["layers"][at[1]]["kind"], *at[2:]): at for at in reversed(options)}.values():
        wrong = f"{at[-1]}q"
        with pytest.raises(ValueError, match=rf"^{at[1]}: .*({wrong}|{at[-1]})"):
            build(choice, spoilt(whole, at, wrong))
    assert unnoticed(conf, file, [at for at in keys_of(file) if at not in options]) == []


SWEPT = [(f, at) for f in FILES for at in keys_of(f) if at[:2] == ("hydra", "sweeper") or f.startswith("hydra/")]


@pytest.mark.parametrize(("file", "at"), SWEPT, ids=[f"{f}:{'.'.join(at)}" for f, at in SWEPT])
def test_so_is_every_key_of_a_sweeper(conf, command, tmp_path, file, at):
    group, choice = Path(file).parent.as_posix(), Path(file).stem
    swept = (
        ["-m", "seed=0,1"]
        if choice == "study"
        else ["-m", "optimizer.lr=interval(0.1,0.2)"]
        if choice == "search"
        else []
    )
    wrong = f"{at[-1]}q"
    with spoilt_file(conf, file, at, wrong):
        done = command("train", *swept, f"{group}={choice}", "data=digits", "study.plan_only=true")
    assert done.status == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert wrong in done.stderr or at[-1] in done.stderr
    assert list(tmp_path.iterdir()) == []


# the keys that every run of version 0.1.0 has
FORMER = {
    "data": "batch_size eval_batch_size val_size split_seed resize trim permute_pixels epochs dir",
    "study": "name variants leave_out seeds baseline match skip_invalid pack plan_only variant varied trial",
    "": "data_dir output_dir seed run_name resume init_from checkpoint_every label_smoothing test_flip test_shift "
    "augment precision compile deterministic study trusted_modules",
}


def test_a_run_of_an_earlier_version_lacks_no_key_that_is_needed():
    """A key that came later has its default in LATER, or the run directories of before could not be read."""
    root = yaml.safe_load((conf_dir() / "train.yaml").read_text())
    data = yaml.safe_load((conf_dir() / "common/data.yaml").read_text())
    for part, keys in {"": root, "study": root["study"], "data": data}.items():
        later = {key: keys[key] for key in keys if key not in FORMER[part].split() and key != "defaults"}
        assert later == LATER.get(part, {}), part


def test_a_key_of_ones_own_is_taken_where_another_reads_it(composed):
    assert composed("+my_rate=0.125", "optimizer.lr=${my_rate}")["optimizer"]["lr"] == 0.125
    assert composed("+model.narrow=3", "model.layers.conv1.channels=${model.narrow}")["model"]["narrow"] == 3
    assert composed("+data.half={of: 5}", "data.batch_size=${.half.of}")["data"]["batch_size"] == 5
    with pytest.raises(ValueError, match=r"^my_rate: there is no such key"):
        composed("+my_rate=0.125", "optimizer.lr=${seed}")
    with pytest.raises(ValueError, match=r"^data.half: there is no such key"):
        composed("+data.half=5", "optimizer.lr=${model.width}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("activaton: relu", 'model.activaton: there is no such key; did you mean "activation"'),
        ("dropuot: 0.5", 'model.dropuot: there is no such key; did you mean "dropout"'),
        ("mute: [conv1]", "model.mute: there is no such key"),
    ],
)
def test_so_is_one_in_a_file_of_ones_own_by_every_command(command, tmp_path, content, message):
    folder = tmp_path.parent / f"{tmp_path.name}-conf"
    (folder / "model").mkdir(parents=True)
    layers = "{conv1: {kind: conv, channels: 4, kernel_size: 3}, head: {kind: classifier}}"
    (folder / "model/mine.yaml").write_text(f"name: mine\n{content}\nlayers: {layers}\nremove: []\n")
    place = ["--config-dir", str(folder)]
    for name, arguments in (("train", []), ("summary", []), ("train", ["-m", "seed=0,1"])):
        done = command(name, *place, *arguments[:1], "model=mine", *arguments[1:])
        assert done.status == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    with pytest.raises(ValueError, match=message.partition(";")[0]):
        cnnlab.fit(["model=mine"], config_dir=folder)
    assert list(tmp_path.iterdir()) == []


def test_so_is_one_in_the_config_of_a_run_that_is_resumed(command, digits_run, tmp_path):
    run = tmp_path.parent / f"{tmp_path.name}-run"
    shutil.copytree(digits_run.directory, run)
    path = run / ".hydra/config.yaml"
    path.write_text(path.read_text().replace("label_smoothing", "label_smothing"))
    assert "label_smoothing is missing" in command("evaluate", f"run={run}").stderr
    path.write_text((digits_run.directory / ".hydra/config.yaml").read_text() + "class_wieghts: [1, 2]\n")
    done = command("train", f"resume={run}", "trainer.max_epochs=3")
    assert done.stderr.startswith("cnnlab: class_wieghts: there is no such key")
    assert command("evaluate", f"run={run}").status == 0  # what it did can be looked at
