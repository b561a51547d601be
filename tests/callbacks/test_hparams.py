"""TensorBoard's HParams tab: read by TensorBoard's own backend, every run is a filled row whatever lies beside it."""

from pathlib import Path

import pytest
import yaml
from lightning.pytorch import Callback
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

import cnnlab
from cnnlab.config.compose import compose, plain, write_composed
from cnnlab.trained.run import Run
from cnnlab.training.callbacks.hparams import COLUMNS, group, row
from cnnlab.training.run import resume, train

pytestmark = pytest.mark.slow

QUICK = ("trainer=cpu", "data=xo", "model=xo_cnn", "data.train_size=64", "data.test_size=64")


class StopOnce(Callback):
    """Ends the fit within the second epoch, once."""

    armed = False

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.armed and trainer.current_epoch == 1:
            type(self).armed = False
            raise RuntimeError("stopped")


def tab(folder: Path) -> tuple[dict[str, bool], list[str], dict[str, dict], dict[str, dict]]:
    """What the tab has of a folder: columns, whether each differs; metrics; and by row its settings and metrics."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(folder))))
    experiment = get_experiment.Handler(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=[api_pb2.STATUS_UNKNOWN], slice_size=1000)
    groups = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    settings = {
        g.name: {k: getattr(v, v.WhichOneof("kind")) for k, v in g.hparams.items()} | {"sessions": len(g.sessions)}
        for g in groups
    }
    metrics = {g.name: {m.name.tag: m.value for m in g.metric_values} for g in groups}
    columns = {info.name: info.differs for info in experiment.hparam_infos}
    return columns, [info.name.tag for info in experiment.metric_infos], settings, metrics


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Runs of two models and datasets, and two seeds of two variants in each of two studies, under one root."""
    root = tmp_path_factory.mktemp("outputs")
    quick = [*QUICK, "trainer.max_epochs=1", f"output_dir={root}"]
    cnnlab.fit([*quick, "model.layers.conv1.channels=4"])
    cnnlab.fit(["trainer=cpu", "model=mlp", "trainer.max_epochs=1", f"output_dir={root}", "callbacks=ema"])
    for study, rate in (("fast", 0.01), ("slow", 0.001)):
        for variant, removed in (("baseline", "[]"), ("no_pool2", "[pool2]")):
            for seed in (0, 1):
                own = [f"study.name={study}", f"study.variant={variant}", "study.varied=[model.remove]"]
                overrides = [*quick, f"optimizer.lr={rate}", f"model.remove={removed}", f"seed={seed}", *own]
                directory = root / f"studies/{study}/{variant}-s{seed}"
                composed, _ = compose("train", overrides)
                write_composed(composed, directory, overrides)
                train(plain(composed), directory, overrides)
    return root


def test_every_row_below_the_outputs_folder_is_filled(outputs):
    columns, metrics, settings, values = tab(outputs)
    assert len(settings) == 2 + 4
    assert set(COLUMNS) < set(columns)
    for name, shown in settings.items():
        common = set(COLUMNS) - ({"seed"} if "variant" in shown else set())
        assert common <= set(shown), name
        assert values[name]["final/test/acc"] > 0, name
    assert {s["model"] for s in settings.values()} == {"xo_cnn", "mlp"}
    assert metrics[:5] == ["epoch", "final/test/acc", "final/test/loss", "final/train/loss", "final/val/acc"]
    assert {"run/params", "val/acc"} < set(metrics)


def test_what_the_command_line_changed_has_a_column(outputs):
    _, _, settings, _ = tab(outputs)
    single = [s for s in settings.values() if "variant" not in s]
    assert sorted(s.get("model.layers.conv1.channels", 0) for s in single) == [0, 4]
    assert [s["callbacks"] for s in single if "callbacks" in s] == ["ema"]
    assert not any(key.startswith(("study.", "output_dir")) for s in settings.values() for key in s)


def test_seeds_of_a_variant_are_one_row_and_studies_do_not_mix(outputs):
    _, _, settings, values = tab(outputs)
    rows = {name: s for name, s in settings.items() if "variant" in s}
    assert sorted((name.partition("-")[0], s["sessions"]) for name, s in rows.items()) == [
        ("fast/baseline", 2), ("fast/no_pool2", 2), ("slow/baseline", 2), ("slow/no_pool2", 2),
    ]  # fmt: skip
    for name in rows:
        study, _, variant = name.rpartition("-")[0].partition("/")
        runs = [Run.load(path) for path in outputs.glob(f"studies/{study}/{variant}-s*")]
        assert values[name]["final/test/acc"] == pytest.approx(sum(r.metrics["test/acc"] for r in runs) / 2)


def test_in_a_study_only_what_it_varies_differs(outputs):
    columns, _, settings, _ = tab(outputs / "studies/fast")
    assert {key for key, differs in columns.items() if differs} == {"variant", "model.remove"}
    assert {s["model.remove"] for s in settings.values()} == {"[]", '["pool2"]'}
    assert "seed" not in columns


def only_row(folder: Path) -> tuple[dict, dict]:
    _, _, settings, metrics = tab(folder)
    (name,) = settings
    return settings[name], metrics[name]


def test_a_run_that_stopped_shows_its_epochs_and_resumed_its_new_settings(tmp_path):
    StopOnce.armed = True
    stop = "+callbacks.stop={_target_: test_hparams.StopOnce}"
    with pytest.raises(RuntimeError, match="stopped"):
        cnnlab.fit([*QUICK, "trainer.max_epochs=3", f"output_dir={tmp_path}", stop])
    (directory,) = tmp_path.glob("runs/*")
    settings, values = only_row(tmp_path)
    assert settings["trainer.max_epochs"] == 3
    assert values["final/train/loss"] > 0
    assert values["run/epochs"] == 1
    assert "final/test/acc" not in values
    resume(directory, ["trainer.max_epochs=2"])
    settings, values = only_row(tmp_path)
    assert settings["trainer.max_epochs"] == 2
    assert values["final/test/acc"] == pytest.approx(Run.load(directory).metrics["test/acc"])
    assert values["run/epochs"] == 2
    latest = sorted(directory.glob("csv/version_*"))[-1]
    for path in (directory / "hparams.yaml", latest / "hparams.yaml"):
        assert yaml.safe_load(path.read_text())["trainer"]["max_epochs"] == 2


def test_hparams_yaml_holds_the_settings_and_no_place(digits_run):
    content = yaml.safe_load((digits_run.directory / "hparams.yaml").read_text())
    assert content["model"] == digits_run.config["model"]
    assert content["optimizer"]["lr"] == digits_run.config["optimizer"]["lr"]
    assert "dir" not in content["data"]
    assert yaml.safe_load((digits_run.directory / "csv/version_0/hparams.yaml").read_text()) == content


def test_a_row_has_numbers_as_numbers_and_the_rest_as_text(composed):
    typed = ["experiment=mlp_mnist", "+model.layers.fc1.activation={kind: leaky_relu, negative_slope: 0.2}"]
    shown = row(composed(*typed), typed)
    assert shown["experiment"] == "mlp_mnist"
    assert shown["optimizer.lr"] == 0.01
    assert shown["optimizer"] == "Adam"
    assert "negative_slope" in shown["model.layers.fc1.activation"]


def test_seeds_that_have_validation_splits_of_their_own_share_a_row(composed):
    study = ["study.name=s", "study.variant=v", "study.varied=[data.split_seed]", "study.vary=[seed,split]"]
    one, other = (composed(*study, f"seed={n}", f"data.split_seed={n}") for n in (0, 1))
    assert group(one) == group(other)
    assert row(one, []) == row(other, [])
    one["study"]["vary"] = other["study"]["vary"] = ["seed"]
    assert group(one) != group(other)
