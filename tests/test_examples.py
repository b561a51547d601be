"""What examples/README.md says can be done works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from children import forked

from cnnlab.runs.record import Record

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
CONF = ["--config-dir", str(EXAMPLES / "mylab/conf")]
TRUST = "trusted_modules=[mylab]"


def run(name: str, *arguments: str, cwd: Path) -> str:
    """What a command prints that finds mylab."""
    done = forked(name, *arguments, cwd=cwd, PYTHONPATH=f"{EXAMPLES}:{EXAMPLES.parent}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder in which the experiment has been run once."""
    folder = tmp_path_factory.mktemp("lab")
    run("train", *CONF, "experiment=stripes", "trainer=cpu", "hydra.run.dir=stripes", cwd=folder)
    return folder


def test_the_table_shows_the_layer_kind(lab):
    assert "coordinates" in run("summary", *CONF, "model=striped", "data=stripes", TRUST, cwd=lab)


def test_the_run_has_all_that_mylab_adds(lab):
    made = Record.load(lab / "stripes")
    assert made.metrics["test/acc"] > 0.95
    assert {"val/calibration_error", "test/calibration_error"} < made.metrics.keys()
    assert made.metrics["epochs"] < 6  # the callback has stopped it
    lines = [json.loads(line) for line in (lab / "stripes/metrics.jsonl").read_text().splitlines()]
    assert any("test/calibration_error" in line for line in lines)
    config = made.config
    assert (config["data"]["name"], config["model"]["loss"]) == ("stripes", "focal")
    assert (config["model"]["init"], config["augment"]) == ("small_normal", {"noise": {"amount": 10}})


def test_the_commands_that_read_it_work(lab):
    assert "calibration_error" in run("evaluate", "run=stripes", TRUST, cwd=lab)
    run("inspect", *CONF, "run=stripes", TRUST, "callbacks=mean_images", cwd=lab)
    assert "mean_images: upright" in (lab / "stripes/inspect/index.html").read_text()
    run("train", "resume=stripes", TRUST, "trainer.max_epochs=7", cwd=lab)


def test_a_study_reports_the_metric(lab):
    quick = ["seed=0,1", "trainer.max_epochs=1", "trainer=cpu", "study.name=two"]
    run("train", *CONF, "-m", "experiment=stripes", "model.remove=[],[where]", *quick, cwd=lab)
    assert "calibration_error (lower is better)" in (lab / "outputs/studies/two/report.md").read_text()


def test_the_notebook_ends_in_a_comparison(tmp_path):
    command = [sys.executable, str(EXAMPLES / "notebook.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "without the coordinates: " in done.stdout
    assert len(list(tmp_path.glob("outputs/runs/*/metrics.json"))) == 13


def test_the_readme_names_every_file():
    text = (EXAMPLES / "README.md").read_text()
    for path in [*EXAMPLES.glob("mylab/*.py"), *EXAMPLES.glob("mylab/conf/*/*.yaml"), EXAMPLES / "notebook.py"]:
        assert path.relative_to(EXAMPLES).as_posix() in text, path
