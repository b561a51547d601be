"""Eight processes in the same second, on an empty data folder: one download, eight runs."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cnnlab.data.verify import MNIST_FILES
from cnnlab.runs import Run

PROCESSES = 8
# in place of torchvision's mirrors; the archives are packed anew, so that their checksums are others
PATCH = """
import json, os
from torchvision.datasets import MNIST
MNIST.mirrors, MNIST.resources = json.loads(os.environ["MIRROR"])
import runpy, sys
sys.argv = ["cnnlab.train", *sys.argv[1:]]
runpy.run_module("cnnlab.train", run_name="__main__")
"""


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


@pytest.mark.slow
@pytest.mark.real_data
def test_eight_processes_download_once_and_leave_eight_runs(mirror, tmp_path):
    addresses, asked = mirror
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-c", PATCH, "data=mnist", f"data_dir={tmp_path}/data", "model=softmax", "trainer=cpu"]
    command += ["trainer.max_epochs=1", "+trainer.limit_train_batches=3", "~logger.csv"]
    environment = {**os.environ, "MIRROR": addresses, "no_proxy": "127.0.0.1"}
    processes = [
        subprocess.Popen(command, cwd=tmp_path / "work", env=environment, stderr=subprocess.PIPE, text=True,
                         stdout=subprocess.DEVNULL)
        for _ in range(PROCESSES)
    ]  # fmt: skip
    errors = [process.communicate(timeout=280)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, errors
    # torchvision asks twice: where the file is, after redirects, and for the file
    assert asked == {f"{name}.gz": 2 for name in MNIST_FILES}
    runs = [Run.load(path) for path in (tmp_path / "work/outputs/runs").iterdir()]
    assert len(runs) == PROCESSES
    assert {run.status for run in runs} == {"completed"}
    shutil.rmtree(tmp_path / "data")
