"""What cannot be is refused in one line, and leaves nothing behind."""

import shlex
from pathlib import Path

import pytest
from PIL import Image

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


@pytest.mark.parametrize(("request_", "message"), REQUESTS, ids=[r for r, _ in REQUESTS])
def test_a_bad_request_gets_one_line_and_leaves_nothing(command, here, tmp_path, request_, message):
    def placed(text: str) -> str:
        return text.replace("FILE", str(here / "file")).replace("HERE", str(here))

    done = command(*shlex.split(placed(request_)))
    assert placed(message) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("cnnlab: ")
    assert done.status == 1
    assert list(tmp_path.iterdir()) == []
    assert len(list(here.iterdir())) == 5


def test_there_are_enough_of_them():
    assert len(REQUESTS) >= 150
