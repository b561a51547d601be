"""Hydra sweepers of -m; this file imports little, because Hydra imports it at every start."""

from collections.abc import Mapping
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from cnnlab.studies.workers import start_forkserver


class _OwnSweeper(Sweeper):
    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store Hydra's context and config."""
        self.hydra_context, self.config = hydra_context, config

    def begin(self, arguments: list[str]) -> tuple[HydraContext, DictConfig, list[str]]:
        """Start the forkserver, whose imports run beside the sweep's own; return context, config and all overrides."""
        assert self.hydra_context is not None
        assert self.config is not None
        start_forkserver(self.config)
        return self.hydra_context, self.config, [*(f"{key}={value}" for key, value in self.params.items()), *arguments]


class StudySweeper(_OwnSweeper):
    """Plan a study, run its unfinished runs, write its report (`cnnlab.studies.sweep`)."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study that the config, `hydra.sweeper.params` and the command line describe."""
        request = self.begin(arguments)
        from cnnlab.studies.sweep import sweep

        sweep(*request)


class SearchSweeper(_OwnSweeper):
    """Search for the best validation accuracy with Optuna (`cnnlab.studies.search`)."""

    def __init__(self, params: Mapping[str, Any] | None = None, trials: int = 20, parallel: int = 1) -> None:
        super().__init__(params)
        self.trials, self.parallel = trials, parallel

    def sweep(self, arguments: list[str]) -> Any:
        """Run trials over the search space of `hydra.sweeper.params` and the command line."""
        request = self.begin(arguments)
        from cnnlab.studies.search import search

        search(*request, self.trials, self.parallel)
