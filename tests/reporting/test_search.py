"""The report of a search: trials counted as trials, and what chance makes of the best of them."""

import csv
import json
import re

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import cnnlab
from cnnlab.reporting.chance import chance, sign_test
from cnnlab.reporting.report import report
from cnnlab.reporting.trials import read_search
from cnnlab.runs.answers import Answers, write_answers
from cnnlab.runs.plan import Parameter, Plan, SearchPlan
from cnnlab.runs.record import RECORDED

SPACE = {
    "optimizer.lr": FloatDistribution(0.001, 1.0, log=True),
    "model.norm": CategoricalDistribution(["null", "batch"]),
}
RUN = ["python", "-m", "cnnlab.train", "model=lenet5"]
IMAGES = 500


def answers_of(hits: np.ndarray) -> Answers:
    return Answers(np.zeros(len(hits), np.int16), (~hits).astype(np.int16), np.ones(len(hits), np.float16))


def leave_run(directory, number: int, status: str, hits: np.ndarray | None, cause: str | None = None) -> None:
    run = directory / f"trial_{number:03d}-s0-abc"
    run.mkdir()
    kinds = {key: kind[0]() for key, kind in RECORDED.items()}
    (run / "run.json").write_text(json.dumps({**kinds, "status": status, "cause": cause}))
    if hits is not None:
        write_answers(run, {"val": answers_of(hits)}, ["0", "1"])


@pytest.fixture
def begin(tmp_path):
    """Begins a search whose completed trials have so many of the validation images right."""

    def make(*right: int, keep: bool = True, seed: int = 0) -> optuna.Study:
        ranges = {key: Parameter.of(drawn) for key, drawn in SPACE.items()}
        SearchPlan("mine", [*RUN, "-m", "optimizer.lr=interval(0,1)"], RUN, ranges, 20, IMAGES).write(tmp_path)
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "trials.log")))
        study = optuna.create_study(storage=storage, study_name="search", direction="maximize")
        random = np.random.default_rng(seed)
        for count in right:
            trial = study.ask(SPACE)
            hits = np.zeros(IMAGES, bool)
            hits[: count - 10], hits[count - 10 + random.permutation(IMAGES - count + 10)[:10]] = True, True
            assert hits.sum() == count
            leave_run(tmp_path, trial.number, "completed", hits if keep else None)
            study.tell(trial, count / IMAGES)
        return study

    return make


def test_a_search_is_reported_with_all_that_became_of_its_trials(begin, tmp_path):
    study = begin(450, 480, 470, 460, 478, 300)
    pruned, failed, cut, _ = (study.ask(SPACE) for _ in range(4))
    pruned.report(0.7, 0)
    pruned.report(0.6, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(failed, state=TrialState.FAIL)
    leave_run(tmp_path, failed.number, "failed", None, "ValueError: no | luck <b>")
    leave_run(tmp_path, cut.number, "running", None)  # whose process is gone, as nobody holds its directory
    printed = report(tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    order = [("1", "complete"), ("4", "complete"), ("2", "complete"), ("3", "complete"), ("0", "complete")]
    order += [("5", "complete"), ("7", "fail"), ("8", "interrupted"), ("6", "pruned"), ("9", "running")]
    assert [(row["trial"], row["state"]) for row in rows] == order
    assert rows[0]["val/acc"] == "0.96"
    assert rows[-2]["val/acc"] == "0.6"  # at which it was stopped
    markdown, page = ((tmp_path / f"report.{kind}").read_text() for kind in ("md", "html"))
    said = "7 of 20 wanted trials are done (6 completed, 1 failed, 1 interrupted, 1 stopped early, 1 running)."
    assert said in printed
    assert said in markdown
    assert "trial_007: ValueError: no | luck <b>" in markdown
    assert "no | luck &lt;b&gt;" in page
    best = " ".join([*RUN, *(f"{key}={value}" for key, value in study.trials[1].params.items())])
    assert f"    {best}\n" in markdown
    assert best in page
    for name in ("history", "slices"):
        figure = re.search(rf'<figure id="{name}">.*?</figure>', page, re.DOTALL)
        assert figure[0].count("<title>trial_") == (7 if name == "history" else 14)
        assert figure[0].count('"dot hollow"') == (1 if name == "history" else 2)
    shares = re.findall(r"^\| (?:optimizer.lr|model.norm) \| ([\d.]+) \|", markdown, re.MULTILINE)
    assert sum(map(float, shares)) == pytest.approx(1, abs=2e-3)


def test_the_page_fits_a_telephone_and_its_table_sorts(begin, tmp_path, browser):
    begin(450, 480, 470, 460, 478, 300)
    report(tmp_path)
    page = browser.new_page(viewport={"width": 400, "height": 800}, offline=True)
    errors: list[object] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.on("console", lambda message: errors.append(message.text))  # which a refused request or script leaves
    page.goto(f"file://{tmp_path}/report.html")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.locator("#trials th button").first.click()
    assert page.locator("#trials tbody td:first-child").all_inner_texts() == list("012345")
    assert errors == []


def test_trials_of_equal_networks_are_not_told_apart_and_worse_ones_are(begin, tmp_path):
    study = begin(480, 478, 478, 477)
    assert "The best trials cannot be told apart: no other completed trial is worse" in report(tmp_path)
    found = chance(read_search(tmp_path))
    assert found.paired
    assert [trial.number for trial in found.tied] == [1, 2, 3]
    assert found.error == pytest.approx((0.96 * 0.04 / IMAGES) ** 0.5)
    trial = study.ask(SPACE)
    leave_run(tmp_path, trial.number, "completed", np.arange(IMAGES) < 400)
    study.tell(trial, 0.8)
    found = chance(read_search(tmp_path))
    assert [trial.number for trial in found.worse] == [4]
    assert "of the others 1 of 4 are worse" in report(tmp_path)


def test_a_best_trial_that_stands_alone_is_said_to_and_answers_that_are_missing_cost_power(begin, tmp_path):
    begin(480, 460, keep=False)
    found = chance(read_search(tmp_path))
    assert not found.paired
    assert [trial.number for trial in found.worse] == [1]
    assert "Every other completed trial is worse" in report(tmp_path)
    for number, right in ((0, 480), (1, 460)):
        hits = np.arange(IMAGES) < right
        write_answers(tmp_path / f"trial_{number:03d}-s0-abc", {"val": answers_of(hits)}, ["0", "1"])
    assert chance(read_search(tmp_path)).paired


@pytest.mark.parametrize("trials", [2, 12])
def test_by_chance_one_in_twenty_searches_at_most_tells_equal_trials_apart(begin, tmp_path, monkeypatch, trials):
    begin(*[450] * trials)
    search, random, wrong = read_search(tmp_path), np.random.default_rng(0), 0
    above, lucky = [], []
    for _ in range(300):
        hits = random.random((trials, IMAGES)) < 0.9
        for trial, own in zip(search.trials, hits, strict=True):
            object.__setattr__(trial, "accuracy", own.mean())
        monkeypatch.setattr("cnnlab.reporting.chance._hits", lambda trial, hits=hits: hits[trial.number])
        found = chance(search)
        assert found.median == np.median(hits.mean(1))
        wrong += bool(found.worse)
        above.append(hits.mean(1).max() - found.median)
        lucky.append(found.lucky)
    assert wrong <= 0.05 * 300 + 2 * (0.05 * 0.95 * 300) ** 0.5
    assert np.mean(lucky) == pytest.approx(np.mean(above), rel=0.1)


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (5, 0), (3, 9), (40, 60), (500, 560), (900, 1000)])
def test_the_sign_test_is_scipys(ours, theirs):
    from scipy.stats import binomtest

    expected = binomtest(ours, ours + theirs).pvalue if ours + theirs else 1
    assert sign_test(ours, theirs) == pytest.approx(expected, rel=1e-9 if ours + theirs <= 1000 else 0.01)


def test_a_search_and_a_study_are_told_apart(begin, tmp_path):
    begin(450)
    assert "1 of 20 wanted trials are done" in report(tmp_path)
    with pytest.raises(ValueError, match=r"is a search and no study; give one of the two another study\.name"):
        Plan.load(tmp_path)
    with pytest.raises(ValueError, match="is a search and no study"):
        Plan("mine", "a", "x", [], [], [], []).write(tmp_path)
    study = tmp_path / "study"
    Plan("mine", "a", "x", [], [], [], []).write(study)
    with pytest.raises(ValueError, match="is a study and no search"):
        SearchPlan("mine", [], [], {}, 1, 1).write(study)
    with pytest.raises(ValueError, match="holds no runs"):
        cnnlab.compare(study)


def test_a_search_of_an_earlier_version_is_reported_without_its_command(begin, tmp_path):
    begin(450, 480)
    (tmp_path / "plan.json").unlink()
    assert "2 trials are done (2 completed)." in report(tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    assert "Its values:\n\n    optimizer.lr=" in markdown
    assert "0.001 to 1.0, logarithmic" in markdown


def test_a_damaged_journal_or_plan_is_refused_in_one_line(begin, tmp_path):
    begin(450)
    journal = (tmp_path / "trials.log").read_text()
    (tmp_path / "trials.log").write_text("{\n" + journal)
    with pytest.raises(ValueError, match=r"^[^\n]*trials.log is damaged: [^\n]+$"):
        report(tmp_path)
    (tmp_path / "trials.log").write_text(journal)
    for content in ("{", "[]", '{"space": 3}'):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(ValueError, match=r"^[^\n]*plan.json is damaged: [^\n]+$"):
            report(tmp_path)
