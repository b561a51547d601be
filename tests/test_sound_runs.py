"""Every command takes a run that was trained on sounds."""

import csv
import re

import pytest
import torch
from sounds import hums, tone, wav

import cnnlab
from cnnlab.data.forms import as_floats
from cnnlab.data.waves import read_waveform
from cnnlab.playground.write import play
from cnnlab.trained.export import OnnxNetwork
from cnnlab.trained.robustness import robustness
from cnnlab.trained.sound_distortions import SOUND_DISTORTIONS, noise, tempo

pytestmark = pytest.mark.slow

MODEL = "model=lenet5 model.width=0.5 model.activation=relu"
RECIPE = (
    f"{MODEL} data.seconds=0.5 data.val_size=6 data.batch_size=6 optimizer.lr=0.01 augment=spoken_digits trainer=cpu"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hums(tmp_path_factory.mktemp("sounds") / "hums")


def trained(folder, output, *more):
    return cnnlab.fit(
        [
            *RECIPE.split(),
            "data=sound_folder",
            f"data.path={folder}",
            f"output_dir={output}",
            "trainer.max_epochs=4",
            *more,
        ]
    )


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return trained(folder, tmp_path_factory.mktemp("outputs"))


def weights(run):
    return torch.load(run.directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_it_learns_and_is_evaluated_on_its_own_data_and_on_others(run, folder, tmp_path):
    assert run.metrics["test/acc"] == 1
    assert run.evaluate()["test/acc"] == 1
    # sounds of another dataset are read at the run's rate and length, whatever theirs are
    other = ["data=sound_folder", f"data.path={folder}", "data.rate=44100", "data.seconds=2"]
    assert run.evaluate(other)["test/loss"] == pytest.approx(run.metrics["test/loss"], abs=1e-5)
    with pytest.raises(ValueError, match=r"^data=digits holds an? image in each example, and .* was trained on sounds"):
        run.evaluate("digits")


def test_streamed_and_over_two_processes_it_is_the_same_training(run, folder, tmp_path):
    streamed = trained(folder, tmp_path, "data.stream=1")
    assert all(torch.equal(weights(run)[k], v) for k, v in weights(streamed).items())
    both = trained(folder, tmp_path, "trainer=ddp_cpu", "augment=none", "trainer.max_epochs=1", "precision=64-true")
    alone = trained(folder, tmp_path, "augment=none", "trainer.max_epochs=1", "precision=64-true")
    assert both.info["world_size"] == 2
    assert all(torch.allclose(weights(alone)[k], v, rtol=0, atol=1e-10) for k, v in weights(both).items())


def test_runs_of_a_sweep_are_packed(command, folder, tmp_path):
    done = command(
        "train", "-m", *RECIPE.replace("augment=spoken_digits", "augment=none").split(), "data=sound_folder",
        f"data.path={folder}", "seed=0,1", "study.pack=2", "trainer.max_epochs=2",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    (results,) = tmp_path.glob("outputs/studies/*/results.csv")
    assert [row["status"] for row in csv.DictReader(results.read_text().splitlines())] == ["completed"] * 2
    assert len(list(tmp_path.glob("outputs/studies/*/*/run.json"))) == 2


def test_the_layer_table_names_the_axes(command):
    done = command("summary", "data=spoken_digits", "model=softmax")
    assert done.stdout.startswith("softmax on 1x32x64 (channel x frequency x time), 10 classes\n")


def test_sound_files_are_answered_and_those_that_are_none_are_named(command, run, folder, tmp_path):
    mine = tmp_path / "mine"
    wav(mine / "a.wav", tone(2030, 44100, 3.0), 44100, width=3)
    (mine / "b.wav").write_bytes(b"RIFF")
    (mine / "c.flac").write_bytes(b"fLaC")
    (mine / "notes.txt").write_text("no sound")
    done = command("predict", f"run={run.directory}", f"images={mine}")
    assert done.status == 1
    assert done.stderr.endswith(f"2 of 3 files could not be read: {mine}/b.wav, {mine}/c.flac\n")
    a, b, c = csv.DictReader((run.directory / "predictions.csv").read_text().splitlines())
    assert a["label"] == "high"
    assert (b["error"], c["label"]) == ("not a wav file", "")
    assert command("predict", f"run={run.directory}", f"images={folder}/test/low/0.wav").status == 0
    (tmp_path / "empty").mkdir()
    done = command("predict", f"run={run.directory}", f"images={tmp_path}/empty")
    assert done.stderr == f"cnnlab: images={tmp_path}/empty: the folder holds no sound files\n"


def test_exported_files_take_waveforms(command, run, folder):
    assert command("export", f"run={run.directory}").status == 0
    sounds = (read_waveform(folder / f"test/{name}/0.wav", 16000, 8000) for name in ("high", "low"))
    waveforms = as_floats(torch.stack(list(sounds)))
    answers = OnnxNetwork(run.directory / "export/lenet5.onnx")(waveforms)
    assert answers.argmax(1).tolist() == [0, 1]
    program = torch.export.load(run.directory / "export/lenet5.pt2").module()
    assert torch.allclose(program(waveforms), answers, rtol=0, atol=1e-3 * float(answers.abs().max()))


def test_inspect_takes_it(command, run, folder):
    lookers = ["callbacks.embeddings=null", "callbacks.health=null", "callbacks.features=null"]
    done = command("inspect", f"run={run.directory}", f"images={folder}/test/high", *lookers)
    assert done.status == 0, done.stderr
    page = (run.directory / "inspect/index.html").read_text()
    assert "Gradient</h3>" in page


def test_the_page_of_play_has_seconds_and_hertz_and_no_pen(run, browser):
    page = browser.new_page(offline=True, viewport={"width": 1200, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(f"file://{play(run, 6)}")
    page.wait_for_selector("body.ready")
    assert page.get_attribute(".ticks.columns", "aria-label").startswith("time, 0 s, 0.2 s")
    assert page.get_attribute(".ticks.rows", "aria-label").startswith("frequency, 2 kHz, 4 kHz")
    rows = page.locator(".ticks.rows span").all()
    assert rows[0].bounding_box()["y"] > rows[-1].bounding_box()["y"]  # the highest on top
    assert not page.is_visible("#file")
    assert not page.is_visible("#clear")
    box = page.locator("#canvas").bounding_box()
    page.check("#pictures label:nth-child(2) input", force=True)
    shown = page.inner_text("#shown")
    assert re.fullmatch(r"validation sound \d, (low|high)", shown)
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 50, box["y"] + 20)
    page.mouse.up()
    assert page.inner_text("#shown") == shown  # nothing can be drawn
    page.close()
    assert not errors


# --- distortions


def test_without_distortion_a_runs_accuracy_is_its_test_accuracy(run):
    rows = robustness(run)
    found = {(row["distortion"], row["amount"]): row["accuracy"] for row in rows}
    assert {name for name, _ in found} == {"noise", "tempo"}
    assert found["noise", float("inf")] == found["tempo", 1.0] == 1
    with pytest.raises(ValueError, match=r'^unknown distortion of sounds "blur"; known: noise, tempo'):
        robustness(run, ["blur"])


def test_noise_lies_so_many_decibels_below_the_sound():
    waves = torch.zeros(2, 1, 16000)
    waves[:, 0, 4000:12000] = torch.stack(
        [torch.from_numpy(tone(loudness=x, seconds=1.0)).float() for x in (0.5, 0.05)]
    )
    for decibels in (0, 20):
        added = noise(waves, decibels) - waves
        power = waves[:, 0, 4000:12000].square().mean(1) / added.square().mean((1, 2))
        assert (10 * power.log10()).tolist() == pytest.approx([decibels] * 2, abs=0.3)
    assert torch.equal(noise(waves, SOUND_DISTORTIONS["noise"][1][0]), waves)
    assert torch.equal(noise(waves, 5)[1], noise(waves[1:], 5)[0])  # whatever else is in the batch


@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_tempo_changes_the_length_and_not_the_pitch(factor):
    waves = torch.zeros(1, 1, 16000)
    waves[0, 0, 5000:11000] = torch.from_numpy(tone(440, seconds=0.75)).float()
    played = tempo(waves, factor)
    assert played.shape == waves.shape
    heard = (played[0, 0].abs() > 0.02).nonzero().flatten()
    assert len(heard) == pytest.approx(6000 / factor, rel=0.1)
    assert float(heard.float().mean()) == pytest.approx(8000, abs=300)  # about the middle
    inside = played[0, 0, heard[0] + 500 : heard[-1] - 500]
    spectrum = torch.fft.rfft(inside).abs()
    assert float(spectrum.argmax()) * 8000 / len(inside) == pytest.approx(440, rel=0.02)
    assert inside.abs().amax() < 0.6  # pieces are laid in step
    assert inside.square().mean() == pytest.approx(0.125, rel=0.1)
    assert torch.equal(tempo(waves, 1.0), waves)
