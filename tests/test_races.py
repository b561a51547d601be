"""Eight processes in the same second, on an empty data folder: one download, eight runs."""

import gzip
import hashlib
import json
import os
import shutil
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from children import CONTEXT, command

from cnnlab.data.verify import MNIST_FILES
from cnnlab.trained.run import Run

pytestmark = pytest.mark.slow

PROCESSES = 8


def train(mirror: str, place: tuple, *arguments: str) -> None:
    """Train with another mirror in place of torchvision's; its archives are packed anew, with other checksums."""
    from torchvision.datasets import MNIST

    MNIST.mirrors, MNIST.resources = json.loads(mirror)
    command("train", arguments, *place)


@pytest.fixture
def mirror(real_data_dir, tmp_path):
    """Official MNIST over HTTP, and how often each file was asked for."""
    folder, asked, resources = tmp_path / "mirror", Counter(), []
    folder.mkdir()
    for name in MNIST_FILES:
        packed = gzip.compress((Path(real_data_dir) / "MNIST/raw" / name).read_bytes(), compresslevel=1, mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def do_GET(self):
            asked[self.path.strip("/")] += 1
            super().do_GET()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield json.dumps([[f"http://127.0.0.1:{server.server_port}/"], resources]), asked
    server.shutdown()
    server.server_close()


@pytest.mark.real_data
def test_eight_processes_download_once_and_leave_eight_runs(mirror, tmp_path):
    addresses, asked = mirror
    (tmp_path / "work").mkdir()
    request = ["data=mnist", f"data_dir={tmp_path}/data", "model=softmax", "trainer=cpu"]
    request += ["trainer.max_epochs=1", "+trainer.limit_train_batches=3", "~logger.csv"]
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    started = []
    for number in range(PROCESSES):
        out, err = (tmp_path / f"{number}.{stream}" for stream in ("out", "err"))
        place = (str(tmp_path / "work"), environment, str(out), str(err))
        started.append(CONTEXT.Process(target=train, args=(addresses, place, *request)))
        started[-1].start()
    for process in started:
        process.join(280)
    errors = [path.read_text() for path in tmp_path.glob("*.err")]
    assert [process.exitcode for process in started] == [0] * PROCESSES, errors
    # torchvision asks twice: where the file is, after redirects, and for the file
    assert asked == {f"{name}.gz": 2 for name in MNIST_FILES}
    runs = [Run.load(path) for path in (tmp_path / "work/outputs/runs").iterdir()]
    assert len(runs) == PROCESSES
    assert {run.status for run in runs} == {"completed"}
    shutil.rmtree(tmp_path / "data")
