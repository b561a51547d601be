"""A network for sentences from training to use: checkpoint, predict, evaluate, resume, export, packing, lookers."""

import random
import re
import shutil

import pytest
import torch
from shipped import SENTENCES, usual_input

import cnnlab
from cnnlab import Run
from cnnlab.config.targets import target
from cnnlab.data.examples import Examples
from cnnlab.inspection.look import Look, fitting, run_look
from cnnlab.inspection.sentences import word_scores
from cnnlab.models.network import Network
from cnnlab.packing.stacked import Stacked, structure
from cnnlab.training.classifier import Classifier

pytestmark = pytest.mark.slow

SMALL = ["model=sentence_cnn", "model.width=0.1", "model.layers.embed.features=16", "trainer=cpu", "data.batch_size=20"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Sentences whose class is which of two words comes first, so that only their order tells it."""
    folder, rng = tmp_path_factory.mktemp("text"), random.Random(0)
    for name, count in (("train", 400), ("test", 100)):
        lines = []
        for _ in range(count):
            label = rng.choice(["cat", "dog"])
            other = "dog" if label == "cat" else "cat"
            filler = [f"word{rng.randrange(40)}" for _ in range(rng.randrange(8))]
            at = rng.randrange(len(filler) + 1)
            lines.append(f"{label}\tThe {' '.join([*filler[:at], label, 'before', other, *filler[at:]])} .")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    own = [f"data.path={files}/train.tsv", f"data.test={files}/test.tsv", f"output_dir={output}"]
    return cnnlab.fit(["data=text_file", *SMALL, "trainer.max_epochs=8", *own])


def test_a_convolution_learns_the_order_and_a_bag_of_words_cannot(run, files, tmp_path):
    assert run.metrics["test/acc"] > 0.95
    own = [f"data.path={files}/train.tsv", f"data.test={files}/test.tsv", f"output_dir={tmp_path}"]
    bag = cnnlab.fit(["data=text_file", "model=bag_of_words", "trainer=cpu", "trainer.max_epochs=8", *own])
    assert bag.metrics["test/acc"] < 0.75


def test_word_vectors_are_taken_over_by_word(run, files, tmp_path, capsys):
    more = tmp_path / "more.tsv"  # other words in front, so that every word has another id
    lines = (files / "train.tsv").read_text().splitlines()
    more.write_text("\n".join(f"{line} zebra zebra quagga quagga" for line in lines * 3))
    still = ["optimizer=sgd", "optimizer.lr=0", "optimizer.weight_decay=0", "trainer.max_epochs=1"]
    asked = [
        "data=text_file",
        *SMALL,
        *still,
        f"data.path={more}",
        f"init_from={run.directory}",
        f"output_dir={tmp_path}",
    ]
    ours = cnnlab.fit(asked).classifier()
    assert f"init_from: {run.directory}\n" in capsys.readouterr().out
    theirs = run.classifier()
    vectors, before = (c.network.state_dict()["embed.embedding.weight"] for c in (ours, theirs))
    words, former = ours.facts.vocabulary, theirs.facts.vocabulary
    assert words.index("cat") != former.index("cat")
    assert all(torch.equal(vectors[words.index(word)], before[i]) for i, word in enumerate(former))
    assert 0 < float(vectors[words.index("zebra")].abs().max()) <= 0.25


def test_what_counts_words_is_taken_over_for_the_same_words_only(files, tmp_path, capsys):
    other = tmp_path / "other.tsv"  # as many words
    other.write_text((files / "train.tsv").read_text().replace("before", "behind"))
    asked = ["data=text_file", "model=bag_of_words", "trainer=cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"]
    bag = cnnlab.fit([*asked, f"data.path={files}/train.tsv"])
    cnnlab.fit([*asked, f"data.path={files}/train.tsv", f"init_from={bag.directory}"])
    assert f"init_from: {bag.directory}\n" in capsys.readouterr().out
    cnnlab.fit([*asked, f"data.path={other}", f"init_from={bag.directory}"])
    assert f"init_from: {bag.directory}; started afresh: fc1\n" in capsys.readouterr().out


def test_it_answers_without_its_training_file(run, tmp_path, command):
    moved = tmp_path.parent / f"{tmp_path.name}-run"
    shutil.copytree(run.directory, moved)
    config = moved / ".hydra/config.yaml"
    config.write_text(config.read_text().replace("train.tsv", "gone.tsv"))
    done = command("predict", f"run={moved}", "text=They say: the dog, 'before' (some) cat?")
    assert done.status == 0, done.stderr
    assert "dog" in done.stdout
    answers = Run.load(moved).predict(text=["a cat before dog word3", " ", "words never seen"])
    assert [row["label"] for row in answers][:2] == ["cat", None]
    assert answers[1]["error"] == "there is no word in it"
    assert answers[2]["label"] in ("cat", "dog")
    (tmp_path / "mine.txt").write_text("\nthe dog before cat .\nthe cat before dog .\n")
    done = command("predict", f"run={moved}", "images=mine.txt", "output=out.csv")
    assert done.status == 0, done.stderr
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0].startswith("file,label,probability,error")
    assert [line.split(",")[:2] for line in lines[1:]] == [["mine.txt:2", "dog"], ["mine.txt:3", "cat"]]
    (tmp_path / "mine.txt").write_bytes(b"caf\xe9")
    done = command("predict", f"run={moved}", "images=mine.txt")
    assert done.status == 1
    assert "not UTF-8" in done.stdout
    assert done.stderr.count("\n") == 1


def test_text_is_for_runs_on_sentences(digits_run, run, command):
    with pytest.raises(ValueError, match=r"^text=.*was trained on images; give images="):
        digits_run.predict(text="four")
    for name, does in (("play", "play shows pictures"), ("robustness", "pictures and sounds can be distorted")):
        done = command(name, f"run={run.directory}")
        assert done.status == 1
        assert does in done.stderr
        assert "sentences" in done.stderr
        assert done.stderr.count("\n") == 1
    assert "images=... has to be given, or text=" in command("predict", f"run={run.directory}").stderr


def test_it_is_evaluated_on_other_sentences(run, files, tmp_path):
    other = tmp_path / "other.tsv"
    other.write_text("cat\ta cat before the dog\ndog\tdog before cat\ndog\tcat before dog\ncat\tnever seen\n")
    found = run.evaluate(["data=text_file", f"data.path={other}", f"data.test={other}"])
    assert found["images"] == 4
    assert 0.25 <= found["test/acc"] <= 0.75
    again = run.evaluate(["data=text_file", f"data.path={other}", f"data.test={files}/test.tsv"])
    assert again["test/acc"] == pytest.approx(run.metrics["test/acc"])
    with pytest.raises(ValueError, match=r"^data=digits holds a image|^data=digits holds"):
        run.evaluate("digits")


def test_a_resumed_run_goes_on_and_refuses_other_words(files, tmp_path, command):
    train = tmp_path.parent / f"{tmp_path.name}-train.tsv"
    shutil.copy(files / "train.tsv", train)
    done = command("train", "data=text_file", *SMALL, f"data.path={train}", "trainer.max_epochs=1")
    assert done.status == 0, done.stderr
    (directory,) = tmp_path.glob("outputs/runs/*")
    assert command("train", f"resume={directory}", "trainer.max_epochs=2").status == 0
    train.write_text(train.read_text().replace("word7", "novel"))
    done = command("train", f"resume={directory}", "trainer.max_epochs=3")
    assert done.status == 1
    assert "another vocabulary than these training sentences" in done.stderr
    assert done.stderr.count("\n") == 1
    for name in ("inspect", "export"):  # which look at validation sentences; evaluate and predict make ids of their own
        done = command(name, f"run={directory}")
        assert done.stderr.splitlines()[-1].endswith("than the network was trained with; were they changed?"), name


def test_it_leaves_as_onnx_and_torch_export(run, tmp_path):
    from cnnlab.trained.export import export

    found = export(run, tmp_path)
    assert all(difference <= 1e-5 for _, difference in found.values())


def test_layers_are_silenced(run):
    rows = run.evaluate(lesion="each_block")
    assert {row["lesion"] for row in rows} >= {"w3_*", "w4_*", "w5_*"}


@pytest.mark.parametrize("model", SENTENCES)
def test_networks_of_one_structure_compute_as_one(composed, model):
    config = composed(f"model={model}", "model.width=0.1")["model"]
    networks = [Network(config, *usual_input(model), seed=seed).eval() for seed in (0, 1)]
    ids = torch.randint(32, (5, 37), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = torch.stack([network(ids) for network in networks])
    assert structure(networks[0]) == structure(networks[1]) is not None
    torch.testing.assert_close(Stacked(networks, lambda m: None)(ids), expected)


@pytest.mark.parametrize("model", SENTENCES)
def test_every_looker_looks_at_sentences(composed, model):
    shape, classes, vocabulary = usual_input(model)
    names = [f"class {c}" for c in range(classes)]
    classifier = Classifier(composed(f"model={model}")["model"], shape, names, [], [], vocabulary=vocabulary)
    ids = torch.randint(2, 32, (12, 37), generator=torch.Generator().manual_seed(0))
    ids[:, 9:] = 0

    class Data:
        val = Examples(ids, torch.arange(12) % classes)
        config = composed("data=trec")["data"]

    texts, pictures = {}, {}
    made = {name: target(options, Look)() for name, options in composed("callbacks=inspect")["callbacks"].items()}
    for name, looker in fitting(made, classifier.facts).items():
        found = run_look(looker.look, classifier, Data())
        assert found.pictures or found.texts or found.histograms or (name, model) == ("features", "bag_of_words")
        texts |= found.texts
        pictures |= found.pictures
    assert all(p.ndim == 3 and len(p) == 3 and 0 <= p.min() <= p.max() <= 1 for p in pictures.values())
    assert texts["mistakes/most confident/1"].count("word") >= 8
    assert "saliency/gradient times input" in pictures
    if model == "sentence_cnn":
        listed = [text for tag, text in texts.items() if tag.startswith("features/w3_conv/")]
        assert len(listed) == 4
        excited = 0
        for text in listed:  # channel 7: "word1 word2 word3" 0.12, ...
            channel, found = int(re.match(r"channel (\d+): ", text)[1]), re.findall(r'"([^"]+)" ([\d.]+)', text)
            assert [float(value) for _, value in found] == sorted((float(v) for _, v in found), reverse=True)
            for words, value in found:
                if len(words.split()) == 3:  # the window saw nothing else
                    alone = classifier.network.example(1)
                    alone[0, :3] = torch.tensor([vocabulary.index(word) for word in words.split()])
                    maps = classifier.network.w3_conv(classifier.network.embed(alone))
                    assert maps[0, channel, 2].item() == pytest.approx(float(value), abs=0.006)
                    excited += 1
        assert excited > 8


def test_the_scores_of_words_are_what_a_linear_network_adds_up():
    words = ("<pad>", "<unk>", *"abcd")
    for kind in ("embedding", "one_hot", "bag_of_words"):
        model = {"layers": {"read": {"kind": kind}, "head": {"kind": "classifier", "bias": False}}}
        classifier = Classifier(model, (4,), ["x", "y"], [], [], vocabulary=words)
        ids = torch.tensor([[2, 3, 2, 0], [5, 0, 0, 0]])
        scores, logits = word_scores(classifier.eval(), ids)
        assert torch.allclose(scores.sum(1), logits.amax(1), atol=1e-6), kind
        assert not scores[ids == 0].any()
