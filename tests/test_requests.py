"""What cannot be is refused in one line, and leaves nothing behind."""

import shlex
from pathlib import Path

import pytest
from PIL import Image

from cnnlab.config.compose import compose, plain, quote
from cnnlab.config.errors import EXPECTED, explain
from cnnlab.training.validate import check

LINES = (Path(__file__).parent / "bad_requests.txt").read_text().splitlines()
REQUESTS = [line.split("  =>  ") for line in LINES if not line.startswith("#")]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Folders of pictures, good and bad, and a file where a folder should be."""
    folder = tmp_path_factory.mktemp("here")
    for name in ("one/train/a", "two/train/a", "two/train/b", "broken/train/a", "broken/train/b"):
        (folder / name).mkdir(parents=True)
        for shade in range(3):
            Image.new("L", (20, 20), shade * 50).save(folder / name / f"{shade}.png")
    (folder / "broken/train/b/x.png").write_bytes(b"\x89PNG")
    for name in "ab":
        (folder / "emptyclass/train" / name).mkdir(parents=True)
    (folder / "file").write_text("")
    return folder


def shell_only(request: str) -> bool:
    """Whether a request is more than overrides of `train`."""
    name, *arguments = shlex.split(request)
    return name != "train" or any(
        a.startswith(("-", "resume=", "hydra", "experiment=", "ablation=", "output_dir=", "study.")) for a in arguments
    )


REAL = [pair for i, pair in enumerate(REQUESTS) if shell_only(pair[0]) or i % 18 == 0]
COMPOSED = [pair for pair in REQUESTS if pair not in REAL]


def placed(text: str, here: Path) -> str:
    return text.replace("FILE", str(here / "file")).replace("HERE", str(here))


@pytest.mark.parametrize(("request_", "message"), REAL, ids=[r for r, _ in REAL])
def test_a_bad_request_gets_one_line_and_leaves_nothing(command, here, tmp_path, request_, message):
    done = command(*shlex.split(placed(request_, here)))
    assert placed(message, here) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("cnnlab: ")
    assert done.status == 1
    assert list(tmp_path.iterdir()) == []
    assert len(list(here.iterdir())) == 5


@pytest.mark.parametrize(("request_", "message"), COMPOSED, ids=[r for r, _ in COMPOSED])
def test_so_does_one_that_is_composed_and_checked_as_the_command_does(here, tmp_path, monkeypatch, request_, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNLAB_DATA_DIR", "data")
    with pytest.raises(EXPECTED) as raised:
        check(plain(compose("train", [quote(a) for a in shlex.split(placed(request_, here))[1:]])[0]))
    assert placed(message, here) in explain(raised.value)
    assert "\n" not in explain(raised.value)
    assert list(tmp_path.iterdir()) == []
    assert len(list(here.iterdir())) == 5


def test_a_line_is_the_same_under_a_debugger(command, monkeypatch):
    monkeypatch.setenv("OC_CAUSE", "1")  # what OmegaConf takes a debugger, or coverage, for
    assert command("robustness").stderr == "cnnlab: run=... has to be given\n"
    assert "model.activatoin" in command("train", "model.activatoin=relu").stderr


def test_there_are_enough_of_them():
    assert len(REQUESTS) >= 150
    assert sum(not shell_only(request) for request, _ in REAL) >= 20
