"""Run a check in a process of its own, which may crash or hang: of a server that has torch and no thread yet."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
# what takes long to import, the last by torch's first backward pass, is there when a child starts
CONTEXT.set_forkserver_preload(
    ["pytest", "cnnlab.classifier", "cnnlab.config", "torch.fx.experimental.symbolic_shapes"]
)
PATIENCE = 60  # seconds, for a child that takes less than one


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
