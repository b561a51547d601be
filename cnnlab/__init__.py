"""Take a convolutional network apart.

>>> import cnnlab
>>> run = cnnlab.fit(["data=mnist", "model=lenet5"])    # doctest: +SKIP
>>> run.metrics["test/acc"]                             # doctest: +SKIP

`fit`, `Run` and `compare` are the notebook interface; imported when first used, because torch takes seconds.
"""

from typing import TYPE_CHECKING, Any

from cnnlab.deferred import defer
from cnnlab.device import wait_briefly

if TYPE_CHECKING:
    from cnnlab.reporting.compare import compare
    from cnnlab.train import fit
    from cnnlab.trained.run import Run

__all__ = ["Run", "compare", "fit"]
_HOME = {"Run": "cnnlab.trained.run", "compare": "cnnlab.reporting.compare", "fit": "cnnlab.train"}

defer()
wait_briefly()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "defer", "wait_briefly"})


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cnnlab' has no attribute {name!r}")
    from importlib import import_module

    # `cnnlab.train` is a module and `cnnlab.fit` a function: names never clash
    return getattr(import_module(_HOME[name]), name)
