"""Compose the configs of a study's variants and runs, reading the files that they share only once.

Hydra takes a tenth of a second to compose a config from its files. Which files it reads depends on the choices of
groups alone: they are read once for each set of choices, and overrides of values are applied to a copy by Hydra's code.
"""

import copy
from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cnnlab.config.compose import plain, refuse_unknown_augment
from cnnlab.config.identity import Config
from cnnlab.config.keys import references

VARY = {"seed", "data.split_seed", "data.fold", "data"}  # keys in which runs of a variant may differ, and their parents


class Configs:
    """Compose and cache the configs of a study; the caller must not change them.

    Args:
        context: Hydra's.
        config: composed without the overrides that vary.
        fixed: overrides of all variants, applied before a variant's own.
        own: overrides of all variants, applied after a variant's own: the first seed and the study's name.
    """

    def __init__(self, context: HydraContext, config: DictConfig, fixed: Sequence[str], own: Sequence[str]) -> None:
        self._loader, self._config = context.config_loader, config
        self._fixed, self._own = list(fixed), list(own)
        self._parsed = OverridesParser.create().parse_overrides(self._own)
        self._read: dict[tuple[str, ...], DictConfig] = {}  # by choices of groups
        self._plain: dict[tuple[str, ...], tuple[Config, bool]] = {}  # by overrides: config, does a value refer to VARY

    def variant(self, overrides: Sequence[str]) -> Config:
        """Return the config of a variant at the first seed, as plain containers.

        Raises:
            ValueError, HydraException: it cannot be composed.
        """
        return self._variant(overrides)[0]

    def run(
        self, overrides: Sequence[str], seed: int, split_seed: int | None = None, fold: int | None = None
    ) -> Config:
        """Return the config of a run of a variant, as plain containers."""
        own = {k: v for k, v in {"split_seed": split_seed, "fold": fold}.items() if v is not None}
        config, reads_seed = self._variant(overrides)
        if reads_seed:
            composed = self._compose(overrides)
            composed.seed = seed
            composed.data.update(own)
            return plain(composed)
        return config | {"seed": seed, "data": config["data"] | own}

    def _variant(self, overrides: Sequence[str]) -> tuple[Config, bool]:
        key = tuple(overrides)
        if key not in self._plain:
            composed = self._compose(overrides)
            reads_seed = not VARY.isdisjoint(references(composed))
            self._plain[key] = plain(composed), reads_seed
        return self._plain[key]

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config of a variant as Hydra composes it, with or without the node `hydra`."""
        parsed = [*OverridesParser.create().parse_overrides(list(overrides)), *self._parsed]
        if all(self._commutes(override) for override in parsed):
            values = [override for override in parsed if self._sets_value(override)]
            choices = [str(override.input_line) for override in parsed if not self._sets_value(override)]
            try:
                config = copy.deepcopy(self._read_files(choices))
                ConfigLoaderImpl._apply_overrides_to_config(values, config)
                return config
            except (HydraException, OmegaConfBaseException):
                pass  # Hydra composes it from scratch below, and raises its own error
        return self._loader.load_sweep_config(self._config, [*self._fixed, *overrides, *self._own])

    def _commutes(self, override: Override) -> bool:
        """Return whether an override surely does one thing: choose a file, or set a value after files are read."""
        known = override.package is None and not override.is_sweep_override() and not override.is_hydra_override()
        return known and (self._sets_value(override) or isinstance(override.value(), (str, type(None))))

    def _sets_value(self, override: Override) -> bool:
        key = override.key_or_group
        return "." in key or (key in self._config and not OmegaConf.is_config(self._config._get_node(key)))

    def _read_files(self, choices: Sequence[str]) -> DictConfig:
        key = tuple(choices)
        if key not in self._read:
            config = self._loader.load_sweep_config(self._config, [*self._fixed, *choices])
            refuse_unknown_augment(config)
            with open_dict(config):
                del config["hydra"]
            self._read[key] = config
        return self._read[key]
