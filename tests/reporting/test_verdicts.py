"""What the sentences of a report say, for every verdict there is, and how metrics are written."""

from pathlib import Path

import pytest

from cnnlab.reporting.measure import written
from cnnlab.reporting.statistics import Difference, Judgement
from cnnlab.reporting.study import Comparison, Study
from cnnlab.reporting.tables import Table
from cnnlab.reporting.verdicts import sentences
from cnnlab.runs.metrics import Measure
from cnnlab.runs.plan import Plan, Variant


def said(verdict: str, mean: float, low=None, high=None, name="v", overrides=(), removed=(), metric="test/acc") -> str:
    """The sentence about one variant."""
    baseline = Comparison(Variant("baseline", []), [{"seed": s} for s in range(8)], {metric: (0.9925, 0.001)})
    variant = Comparison(Variant(name, list(overrides), list(removed)), [{"seed": s} for s in range(8)])
    variant.difference = Difference(8, mean, low, high, 0.01)
    variant.judgement = Judgement(0.01, low, high, verdict)
    plan = Plan("s", "baseline", "", [], [], [], [], margin=0.002)
    measure = Measure(metric, percent=metric.endswith("acc"))
    study = Study(plan, Path(), measure, Table(), [baseline, variant], {}, {})
    (_, first), (kind, sentence) = sentences(study)
    assert kind == verdict
    assert first.startswith("The baseline has 99.")
    return sentence


REMOVAL = {"overrides": ["model.remove=[conv2]"], "removed": ["conv2"]}


@pytest.mark.parametrize(
    ("verdict", "numbers", "sentence"),
    [
        ("worse", (-0.0025, -0.0031, -0.0018), "Without conv2 it loses 0.25 points (0.18 to 0.31), 8 seeds."),
        ("better", (0.0025, 0.0018, 0.0031), "Without conv2 it gains 0.25 points (0.18 to 0.31), 8 seeds."),
        ("equivalent", (0.0002, -0.0003, 0.0009),
         "Without conv2 it changes by less than the margin of 0.20 points: equivalent, +0.02 (-0.03 to +0.09), "
         "8 seeds."),
        ("negligible or worse", (-0.001, -0.0035, 0.0005),
         "Without conv2 it may lose up to 0.35 points, and gains less than the margin of 0.20 points: negligible or "
         "worse, 8 seeds."),
        ("negligible or better", (0.001, -0.0005, 0.0035),
         "Without conv2 it may gain up to 0.35 points, and loses less than the margin of 0.20 points: negligible or "
         "better, 8 seeds."),
        ("inconclusive", (-0.001, -0.003, 0.004),
         "Without conv2 it may lose up to 0.30 points or gain up to 0.40 points: inconclusive, 8 seeds."),
        ("too few seeds", (-0.001,), "Without conv2 it loses 0.10 points on 8 seeds, too few for a verdict."),
    ],
)  # fmt: skip
def test_each_verdict_in_a_sentence(verdict, numbers, sentence):
    assert said(verdict, *numbers, **REMOVAL) == sentence


def test_a_variant_that_changes_nothing_is_said_to():
    sentence = "Without conv2 it has the values of the baseline on all of 8 seeds: it may compute the same."
    assert said("equivalent", 0.0, -1e-21, 1e-21, **REMOVAL) == sentence
    unit = written(Measure("test/acc", percent=True))
    assert unit.between(-1e-21, 1e-21) == "+0.00 to +0.00"
    assert unit.between(-0.0019, -5e-324) == "-0.19 to -0.00"  # what leaves 0 out shows it


def test_who_a_sentence_is_about():
    worse = ("worse", -0.0025, -0.0031, -0.0018)
    three = {"overrides": ["model.remove=[a,b,c]", "model.repair=true"], "removed": ["a", "b", "c"]}
    assert said(*worse, **three).startswith("Without a, b and c it loses")
    assert said(*worse, overrides=["model.remove=[a]", "optimizer=adam"], removed=["a"]).startswith("v loses")
    assert said(*worse, name="pool=max", overrides=["model.pool=max"]).startswith("pool=max loses")
    assert said(*worse, overrides=["model.remove=[a,b,c,d,e]"], removed=list("abcde")).startswith("v loses")


def test_the_unit_is_that_of_the_metric():
    accuracy, other = written(Measure("val/acc", percent=True)), written(Measure("test/f1", percent=False))
    assert (accuracy.name, accuracy.column, accuracy.value(0.9137)) == ("validation accuracy", "val acc %", "91.37 %")
    assert (accuracy.amount(-0.0025), accuracy.signed(0.0025)) == ("0.25 points", "+0.25")
    assert (other.name, other.column, other.value(0.9137)) == ("test f1", "test f1 (higher is better)", "0.9137")
    assert other.amount(-0.0025) == "0.0025 in test f1"


def test_what_is_decided_comes_first():
    def arm(name: str, verdict: str, mean: float) -> Comparison:
        judgement = Judgement(0.01, mean - 0.001, mean + 0.001, verdict)
        return Comparison(Variant(name, []), [], {}, Difference(8, mean, None, None, 0.01), judgement)

    arms = [arm("maybe", "inconclusive", 0.2), arm("up", "better", 0.1), arm("down", "worse", -0.1)]
    arms += [arm("far down", "worse", -0.2), Comparison(Variant("later", []), [])]
    plan, baseline = Plan("s", "b", "", [], [], [], []), Comparison(Variant("b", []), [])
    study = Study(plan, Path(), Measure("test/acc"), Table(), [baseline, *arms], {}, {})
    names = [sentence.split(" has ")[0].split(" loses")[0].split(" gains")[0] for _, sentence in sentences(study)]
    assert names[:4] == ["b, the baseline,", "far down", "down", "up"]
    assert names[4].startswith("maybe may lose")
    assert names[5] == "No completed runs to compare yet: later."
