"""Processes of their own that start at once: of a server that has torch, Lightning and cnnlab, and no thread yet."""

import importlib
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
# what takes long to import, the last by torch's first backward pass, is there when a child starts
CONTEXT.set_forkserver_preload(
    [
        "pytest",
        "cnnlab.training.callbacks.hparams",
        "cnnlab.report",
        "cnnlab.packing.together",
        "cnnlab.training.run",
        "torch.fx.experimental.symbolic_shapes",
        "torch.utils.tensorboard",
        "torchvision.datasets",
        "frozen",
    ]
)
PATIENCE = 60  # seconds, for a child that takes less than one
COMMAND_PATIENCE = 240  # for a command


def in_a_child(check: Callable[..., Any], *args: Any) -> Any:
    """What a check gives in a process of its own.

    Raises:
        AssertionError: it raises, crashes or hangs.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_send, args=(sender, check, *args))
    child.start()
    sender.close()
    try:
        assert receiver.poll(PATIENCE), "hangs"
        try:
            answer, error = receiver.recv()
        except EOFError:
            answer, error = None, None
        child.join(PATIENCE)  # a damaged heap may show itself at the end only
        assert child.exitcode == 0, f"ends with status {child.exitcode}"
        assert error is None, error
        return answer
    finally:
        child.kill()
        child.join()


def _send(sender: Any, check: Callable[..., Any], *args: Any) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        sender.send((check(*args), None))
    except Exception as error:
        sender.send((None, f"{type(error).__name__}: {error}"))


def forked(name: str, *arguments: str, cwd: Path, **environment: str) -> CompletedProcess:
    """Run a cnnlab command in a process of its own, which differs from `python -m cnnlab.NAME` in starting at once.

    Args:
        name: of the command, such as "train".
        arguments: as on the command line.
        cwd: the folder it runs in.
        environment: what it finds beside what is set here.

    Raises:
        AssertionError: it hangs.
    """
    return start(name, *arguments, cwd=cwd, **environment).wait()


@dataclass
class Started:
    """A command that goes on."""

    process: Any
    out: Any
    err: Any

    def wait(self) -> CompletedProcess:
        """What it left when it has ended."""
        self.process.join(COMMAND_PATIENCE)
        hangs = self.process.exitcode is None
        self.process.kill()
        self.process.join()
        texts = []
        for file in (self.out, self.err):
            with file:
                file.seek(0)
                texts.append(file.read())
        assert not hangs, f"hangs: {texts}"
        return CompletedProcess(self.process.name, self.process.exitcode, *texts)


def start(name: str, *arguments: str, cwd: Path, **environment: str) -> Started:
    """Start a command as `forked` does, and do not wait for it."""
    out, err = (tempfile.NamedTemporaryFile("w+") for _ in range(2))  # noqa: SIM115  # closed by `wait`
    place = (str(cwd), dict(os.environ) | environment, out.name, err.name)
    process = CONTEXT.Process(target=command, args=(name, arguments, *place))
    process.start()
    return Started(process, out, err)


def command(name: str, arguments: tuple[str, ...], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Be a command, in a child: its folder and environment, and files for what it prints."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
    sys.path[:0] = [cwd, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = [f"cnnlab.{name}", *arguments]
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    warnings.resetwarnings()  # pytest's are for its own process
    importlib.import_module(f"cnnlab.{name}").main()
