"""Hydra sweepers of -m; this file imports little, because Hydra imports it at every start."""

from collections.abc import Mapping
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from cnnlab.studies.workers import start_forkserver


class StudySweeper(Sweeper):
    """Plan a study, run its unfinished runs, write its report (`cnnlab.studies.sweep`)."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store Hydra's context and config."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study that the config, `hydra.sweeper.params` and the command line describe."""
        assert self.hydra_context is not None
        assert self.config is not None
        start_forkserver(self.config)
        from cnnlab.studies.sweep import sweep

        sweep(self.hydra_context, self.config, [*(f"{key}={value}" for key, value in self.params.items()), *arguments])


class SearchSweeper(Sweeper):
    """Search for the best validation accuracy with Optuna (`cnnlab.studies.search`)."""

    def __init__(self, params: Mapping[str, Any] | None = None, trials: int = 20, parallel: int = 1) -> None:
        self.params, self.trials, self.parallel = params or {}, trials, parallel

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store Hydra's context and config."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run trials over the search space of `hydra.sweeper.params` and the command line."""
        assert self.hydra_context is not None
        assert self.config is not None
        start_forkserver(self.config)
        from cnnlab.studies.search import search

        space = [f"{key}={value}" for key, value in self.params.items()]
        search(self.hydra_context, self.config, [*space, *arguments], self.trials, self.parallel)
