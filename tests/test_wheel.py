"""The wheel, installed where no checkout is."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def test_the_wheel_composes_and_trains_from_an_empty_directory(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"cnnlab/conf/train.yaml", "cnnlab/py.typed", "cnnlab/playground/engine/gemm.js"} <= set(names)
    assert not [n for n in names if n.startswith(("tests", "benchmarks", "conf"))]

    # a clean environment that borrows the dependencies, not the editable install: its .pth is not followed from here
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    zipfile.ZipFile(wheel).extractall(site)

    empty = tmp_path / "empty"
    (empty / "my_conf/model").mkdir(parents=True)
    (empty / "my_conf/model/mine.yaml").write_text("name: mine\nlayers: {head: {kind: classifier}}\nremove: []\n")
    python = environment / "bin/python"
    where = subprocess.run(
        [python, "-c", "import cnnlab; print(cnnlab.__file__)"], cwd=empty, capture_output=True, text=True
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    command = [python, "-m", "cnnlab.train", "-m", "--config-dir", "./my_conf", "model=mine", "trainer.max_epochs=1"]
    done = subprocess.run([*command, "seed=0,1"], cwd=empty, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(list(empty.glob("outputs/studies/sweep-*/*/metrics.json"))) == 2
    assert list(empty.glob("outputs/studies/sweep-*/report.html"))
