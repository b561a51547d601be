"""Fixtures that several rooms share."""

import functools
import importlib
import os
import pickle
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import composing
import pytest

from cnnlab.config.compose import compose, plain

composing.read_once()
ROOT = Path(__file__).parents[1]
# what takes longest is begun first, so that no worker waits at the end for the other
LONGEST = ("test_sweep", "test_effects", "test_resume", "test_lookers", "test_surgery", "test_train", "test_processes",
           "test_keys", "test_export", "test_pack", "test_given", "test_requests", "test_leaks", "test_hostile",
           "test_shipped", "test_zoo", "test_engine", "test_commands", "test_finite", "test_races", "test_threads",
           "test_deferred")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort files by how long they take."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """Let garbage be collected without looking through what was imported each time, a tenth of the time of tests."""
    importlib.import_module("frozen")


@pytest.fixture(scope="session")
def real_data_dir() -> str:
    """Where the official MNIST and CIFAR-10 lie; without them tests skip, unless they may not."""
    path = Path(os.environ.get("CNNLAB_DATA_DIR", ROOT / "data"))
    wanted = [path / "MNIST/raw/train-images-idx3-ubyte", path / "cifar-10-batches-py/data_batch_1"]
    missing = [str(p) for p in wanted if not p.is_file()]
    if missing:
        message = f"the official MNIST and CIFAR-10 are not in {path}; name their folder in CNNLAB_DATA_DIR"
        assert not os.environ.get("CNNLAB_REQUIRE_REAL_DATA"), message
        pytest.skip(message)
    return str(path)


@pytest.fixture(scope="session")
def composed():
    """A train config as plain containers, from overrides; what was composed before is not composed again."""

    @functools.cache
    def pickled(data_dir: str | None, *overrides: str) -> bytes:
        return pickle.dumps(plain(compose("train", overrides)[0]))

    def compose_train(*overrides: str) -> dict:
        return pickle.loads(pickled(os.environ.get("CNNLAB_DATA_DIR"), *overrides))

    return compose_train


@dataclass
class Done:
    """What a command left of itself."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """A cnnlab command as from a shell in an empty folder, but in this process, which has torch already."""
    from hydra.core.global_hydra import GlobalHydra

    def run(name: str, *arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", [f"cnnlab.{name}", *arguments])
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CNNLAB_DATA_DIR", "data")
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        GlobalHydra.instance().clear()
        status: object = 0
        try:
            importlib.import_module(f"cnnlab.{name}").main()
        except SystemExit as end:
            status = end.code
        if isinstance(status, str):  # as the interpreter does
            print(status, file=sys.stderr)
        return Done(status if isinstance(status, int) else 1, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """One finished run of two epochs on digits, for tests that only read it."""
    import cnnlab

    output = tmp_path_factory.mktemp("outputs")
    return cnnlab.fit(["trainer=cpu", "trainer.max_epochs=2", "data.batch_size=32", f"output_dir={output}"])


@pytest.fixture(scope="module")  # closed before other tests fork processes, which would keep its pipes open
def browser():
    """A headless Chromium; without one tests skip, unless they may not."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        message = "there is no Chromium on the path (apt-get install chromium)"
        assert not os.environ.get("CNNLAB_REQUIRE_BROWSER"), message
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
