"""Fork joblib's workers from one process that imports torch and Lightning, once, while the study is planned."""

import multiprocessing
import os
import sys
from multiprocessing import forkserver

from joblib import effective_n_jobs  # type: ignore[import-untyped]
from joblib.externals.loky.backend.context import set_start_method  # type: ignore[import-untyped]
from omegaconf import DictConfig

from cnnlab.device import most

# what a worker would import before its first step
PRELOADED = ["cnnlab.studies.execute", "lightning.pytorch.loggers", "lightning.pytorch.strategies"]


def start_forkserver(config: DictConfig) -> None:
    """Start the process from which the workers of hydra/launcher=joblib are forked; another launcher needs none.

    By itself each worker is a new interpreter: with two on two cores they take seconds, twice as long as one, to import
    the same. Elsewhere than on Linux, where a fork after such imports is not safe, they are left as they are.
    """
    if config.hydra.runtime.choices.get("hydra/launcher") != "joblib" or sys.platform != "linux":
        return
    set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(PRELOADED)
    if "OMP_NUM_THREADS" in os.environ:
        forkserver.ensure_running()
        return
    os.environ["OMP_NUM_THREADS"] = str(max(1, most() // effective_n_jobs(config.hydra.launcher.n_jobs)))
    forkserver.ensure_running()
    del os.environ["OMP_NUM_THREADS"]
