"""Compose configs with Hydra, convert them to plain containers, write and read those of run directories."""

import functools
import os
import re
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from cnnlab.config.identity import MOVED, rename_targets
from cnnlab.config.keys import conf_dir, refuse_missing_keys, refuse_unknown_keys
from cnnlab.config.saved import read_yaml, resolve, to_plain
from cnnlab.registry import hint, one_line

PATHS = (  # keys whose values are paths or sentences, which may need quotes
    "run",
    "images",
    "study",
    "resume",
    "init_from",
    "data_dir",
    "output_dir",
    "output",
    "data.path",
    "data.val",
    "data.test",
    "text",
    "hydra.run.dir",
)

PLUGINS = str(Path(__file__).parents[1] / "_plugins")  # cnnlab's sweepers; Hydra finds plugins in its namespace only


@functools.cache
def run_id() -> str:
    """Return a random id, to distinguish runs that start in the same second."""
    return secrets.token_hex(3)


def safe(*parts: Any) -> str:
    """Join parts by dashes; replace characters that Hydra's grammar or a file system may refuse."""
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", str(p)) for p in parts if p not in (None, ""))


def data_dir(given: Any) -> Any:
    """Return the folder of the datasets: the given one, else CNNLAB_DATA_DIR of the environment, else `data`."""
    return given or os.environ.get("CNNLAB_DATA_DIR", "data")


if PLUGINS not in sys.path:
    sys.path.append(PLUGINS)
setup_globals()  # Hydra's own resolvers, for configs that are read without it
OmegaConf.register_new_resolver("cnnlab.name", safe, replace=True)
OmegaConf.register_new_resolver("cnnlab.data_dir", data_dir, replace=True)
OmegaConf.register_new_resolver("cnnlab.id", run_id, replace=True)


def plain(config: DictConfig, command: str = "train") -> dict[str, Any]:
    """Return a composed config as plain containers, everything resolved, without the node `hydra`.

    Its `trusted_modules` are imported first, so that the names that they register are known.

    Raises:
        ValueError: an unknown or missing key, a module that cannot be imported, or an unknown choice of `augment`.
    """
    if "hydra" in config:
        refuse_unknown_augment(config)
    refuse_unknown_keys(config, command)
    refuse_missing_keys(config, command)
    resolved = to_plain(_without_hydra(config))
    import_trusted(resolved.get("trusted_modules", []))
    return resolved


def import_trusted(modules: Any) -> None:
    """Import modules that register names for configs, such as layer kinds or data sources.

    Args:
        modules: the value of `trusted_modules`, from the command line or from config files of the user's own, never
            from a run directory.

    Raises:
        ValueError: not a list of names, or a module that cannot be imported.
    """
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise ValueError("trusted_modules is a list, such as [my_package]")
    for name in modules:
        try:
            import_module(name)
        except Exception as error:  # whatever the module's own code raises
            cause = one_line(f"{type(error).__name__}: {error}")
            raise ValueError(f"trusted_modules: {name} cannot be imported ({cause})") from error


def refuse_unknown_augment(config: DictConfig) -> None:
    """Refuse an unknown choice of `augment`, which Hydra accepts because the group is optional.

    Raises:
        ValueError: names the nearest choice.
    """
    chosen = config.hydra.runtime.choices.get("augment")
    if not config.get("augment") and chosen not in (None, "none", config.hydra.runtime.choices.get("data")):
        known = [path.stem for path in (conf_dir() / "augment").glob("*.yaml")]
        raise ValueError(f"augment={chosen}: there is none{hint(chosen, known)}")


def _without_hydra(config: DictConfig) -> DictConfig:
    """Return a config without the node `hydra`."""
    return OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"]) if "hydra" in config else config


def compose(command: str, overrides: Sequence[str], config_dir: str | Path | None = None) -> tuple[DictConfig, Path]:
    """Return the composed config of a command and its run directory; `config_dir` is as --config-dir."""
    run_id.cache_clear()
    instance = GlobalHydra.instance()
    running, instance.hydra = instance.hydra, None  # set where one command composes the config of another
    search = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else []
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3", job_name=command):
            config = hydra.compose(command, [*map(quote, overrides), *search], return_hydra_config=True)
            return config, Path(config.hydra.run.dir)
    finally:
        instance.hydra = running


def refuse_several_runs(composed: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse a config, with its node `hydra`, of a sweep or a study, where one run is trained.

    Raises:
        ValueError: names the override and the command that trains several runs.
    """
    if composed.hydra.mode == RunMode.MULTIRUN:
        choices = composed.hydra.runtime.choices
        cause = next((f"{g}={choices[g]}" for g in ("ablation", "experiment") if choices.get(g)), "hydra.mode=MULTIRUN")
        raise ValueError(
            f"{cause} trains several runs, and fit one: run `{_shell(overrides)}`, then "
            f'cnnlab.compare("{composed.output_dir}/studies/...")'
        )


def refuse_sweep(overrides: Sequence[str]) -> None:
    """Refuse overrides with several values, where one run is trained.

    Raises:
        ValueError: names the override and the remedy.
    """
    for override in OverridesParser.create().parse_overrides([quote(o) for o in overrides]):
        if override.is_sweep_override():
            key, _, values = str(override.input_line).partition("=")
            as_list = "" if "(" in values else f"; a list is written {key}=[{values}]"
            raise ValueError(
                f"{key}={values} is a sweep, and fit trains one run: call fit for each value, or run "
                f"`{_shell(['-m', *overrides])}`{as_list}"
            )


def _shell(arguments: Sequence[str]) -> str:
    return f"python -m cnnlab.train {shlex.join(arguments)}"


def write_composed(config: DictConfig, directory: Path, overrides: Sequence[str]) -> None:
    """Write a config and its overrides to a directory's `.hydra`, as Hydra does when it runs a command itself."""
    folder = directory / ".hydra"
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(_without_hydra(config), folder / "config.yaml")
    OmegaConf.save(OmegaConf.create(list(overrides)), folder / "overrides.yaml")


def write_config(config: Mapping[str, Any], directory: Path, overrides: Sequence[str]) -> None:
    """Write what `write_composed` does, for a config as plain containers."""
    write_composed(OmegaConf.create(_escaped(config)), directory, [_escaped(o) for o in overrides])


def _escaped(value: Any) -> Any:
    """Escape "${" in plain containers, which a path may contain, so that OmegaConf does not interpolate it."""
    if isinstance(value, Mapping):
        return {k: _escaped(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_escaped(v) for v in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def load_config(directory: Path) -> dict[str, Any]:
    """Return the config of a run directory as plain containers.

    Raises:
        ValueError: there is no config, or it lacks a key.
    """
    return resolve(_read_config(directory))


def resumed_config(directory: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the config of a run to be resumed, with overrides; its `trusted_modules` are ignored.

    Raises:
        ValueError: as `load_config` and `plain`, or an override of an unknown key or a whole group.
    """
    config: DictConfig = OmegaConf.create(_read_config(directory))
    for override in ["trusted_modules=[]", *overrides]:  # the directory may come from someone else
        key, _, value = override.partition("=")
        if isinstance(OmegaConf.select(config, key), DictConfig):
            raise ValueError(f"{override}: {key} is a whole group, which a run keeps")
        OmegaConf.set_struct(config, True)
        try:
            OmegaConf.update(config, key, OmegaConf.create(f"v: {value}").v)
        except YAMLError as error:
            raise ValueError(f"{override}: the value is not written as YAML has it") from error
    return plain(config)


def as_shipped(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model config with the layers of its shipped file: changes, removals and insertions are undone.

    Model-wide choices, such as `norm`, stay. Without a shipped file only removals and insertions are undone.
    """
    file = conf_dir() / f"model/{safe(model['name'])}.yaml"
    layers = {k: v for k, v in model["layers"].items() if not (isinstance(v, Mapping) and "after" in v)}
    if "arch" not in model and file.is_file():
        composed = OmegaConf.create({"model": {**model, "layers": OmegaConf.load(file).layers}})
        layers = to_plain(composed)["model"]["layers"]
    return {**model, "layers": layers, "remove": [], "freeze": [], "repair": False, "width": 1}


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / ".hydra" / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{directory} is no run directory: it has no .hydra/config.yaml")
    content: dict[str, Any] = rename_targets(read_yaml(path), MOVED)
    try:
        refuse_missing_keys(content, "train")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return content


def quote(override: str) -> str:
    """Quote the value of an override that is a path or a sentence, where Hydra's grammar needs it."""
    key, equals, value = override.partition("=")
    plain_value = re.fullmatch(r"[\w./~:\-+@%]*", value) or value[:1] in "'\"[{" or value.startswith("${")
    if key == "text":  # a sentence may begin with any of these characters; only [...] is a list
        plain_value = value[:1] + value[-1:] == "[]"
    if key.lstrip("+") not in PATHS or not equals or plain_value:
        return override
    # in quotes, only a backslash before a quote is special to Hydra, and "${" to OmegaConf
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value).replace("${", "\\${")
    return f"{key}='{escaped}'"
