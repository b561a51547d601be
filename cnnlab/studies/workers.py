"""Fork joblib's workers from one process that imports torch and Lightning, once, while the study is planned."""

import multiprocessing
import os
import sys
from multiprocessing import forkserver

from omegaconf import DictConfig

# what a worker would import before its first step
PRELOADED = ["cnnlab.studies.execute", "lightning.pytorch.loggers", "lightning.pytorch.strategies"]


def start_forkserver(config: DictConfig) -> None:
    """Start the process from which the workers of hydra/launcher=joblib are forked; another launcher needs none.

    joblib itself starts a new interpreter for each worker, and each imports for seconds, longer with others beside it.
    So it does here too on other systems than Linux, where forking after these imports is not safe.
    """
    chosen = config.hydra.runtime.choices.get("hydra/launcher")
    if chosen != "joblib" or config.study.plan_only or sys.platform != "linux":
        return
    from joblib import cpu_count, effective_n_jobs  # type: ignore[import-untyped]  # only for this launcher
    from joblib.externals.loky.backend.context import set_start_method  # type: ignore[import-untyped]

    set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(PRELOADED)
    given = os.environ.get("OMP_NUM_THREADS")
    # as joblib sets it for new interpreters
    os.environ["OMP_NUM_THREADS"] = given or str(max(1, cpu_count() // effective_n_jobs(config.hydra.launcher.n_jobs)))
    forkserver.ensure_running()
    if given is None:
        del os.environ["OMP_NUM_THREADS"]
