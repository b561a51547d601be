"""Report a user's mistakes in one line, without a traceback."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cnnlab.config.keys import conf_dir, dotted
from cnnlab.registry import hint, one_line

# a user's mistake or a missing dependency, reported in one line; any other error is a defect and keeps its traceback
EXPECTED = (HydraException, OmegaConfBaseException, ValueError, OSError, FloatingPointError)
ROOT_KEYS = ("seed", "data_dir", "output_dir", "run_name")  # suggested for a misspelt key
SHOW_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with one line on stderr and status 1 after an EXPECTED error, with 130 after Ctrl-C.

    HYDRA_FULL_ERROR=1 shows the traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("cnnlab: interrupted\n")
        sys.exit(130)
    except EXPECTED as error:
        if SHOW_TRACEBACK:
            raise
        sys.stderr.write(f"cnnlab: {explain(error)}\n")
        sys.exit(1)


@contextlib.contextmanager
def value_errors() -> Iterator[None]:
    """Turn EXPECTED errors into ValueErrors with the line that a command would print."""
    try:
        yield
    except EXPECTED as error:
        line = explain(error)
        if isinstance(error, ValueError) and line == str(error):
            raise
        raise ValueError(line) from error


def explain(error: BaseException) -> str:
    """Describe an error in one line, with the nearest known key or choice where one is missing."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"{group or 'config'}={choice}: there is none{hint(choice, error.options or [])}"
    # errors of Hydra have one of OmegaConf as cause; so have OmegaConf's own under a debugger, but without a key
    wrapped = not isinstance(error, OmegaConfBaseException) and isinstance(error.__cause__, OmegaConfBaseException)
    cause = error.__cause__ if wrapped else error
    key, parent = getattr(cause, "full_key", None), getattr(cause, "parent_node", None)
    text = one_line(error)
    if isinstance(cause, MissingMandatoryValue):
        return f"{key}=... has to be given"
    if key and isinstance(parent, DictConfig) and "not in struct" in str(cause):
        deeper = [k for k in dotted(parent) if k.endswith(f".{key}")]  # lr for optimizer.lr
        known = deeper or [str(k) for k in parent]
        return f"{key}: there is no such key{hint(deeper[0] if deeper else str(key).rpartition('.')[2], known)}"
    found = re.match(r"Could not override '([\w@./]+)'\. No match in the defaults list", text)
    if found:
        group = found[1].partition("@")[0]
        if group in _groups():
            return f"{group}: this command takes none; cnnlab.train does"
        return f"{group}: there is no such group or key{hint(group, [*_groups(), *ROOT_KEYS])}"
    return text.replace("To append to your config use", "; a new key is added with")


def _groups() -> list[str]:
    return sorted({path.name for path in conf_dir().iterdir() if path.is_dir()} - {"common", "hydra"})
