"""The report of a study written by hand: every verdict, long names, missing runs; as page, Markdown and LaTeX."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from cnnlab.config.compose import compose, plain
from cnnlab.reporting.latex import escape, latex
from cnnlab.reporting.report import report
from cnnlab.reporting.section import Data, Figure, Section
from cnnlab.reporting.tables import Table, numeric, sort_key
from cnnlab.runs.plan import Job, Plan, Variant
from cnnlab.runs.record import write_json

SEEDS = range(8)
SHIFTS = {"no_conv2": -0.03, "pool_max": 0.02, "no_fc3": 0.0, "tanh": 0.002, "a_name_" + "that_goes_on_" * 4: -0.3}
HARMLESS = {f"variant_{i}": 0.0 for i in range(4)}


def write_study(directory: Path) -> Path:
    """A study of 12 variants and 8 seeds, of which one variant has 3 runs and one none, with lesions and curves."""
    shifts = {"baseline": 0.0, **SHIFTS, **HARMLESS, "few": -0.01, "later_&_more<b>": 0.0}
    removed = {name: [name.removeprefix("no_")] for name in shifts if name.startswith("no_")}
    variants = [
        Variant(name, [f"model.remove={removed[name]}"] if name in removed else [f"model.name={name}"],
                removed.get(name, []), 60_000 + 1000 * i, 400_000 + 900_000 * i)
        for i, name in enumerate(shifts)
    ]  # fmt: skip
    jobs = [Job(name, seed, f"{name[:20]}-s{seed}-0", "0") for seed in SEEDS for name in shifts]
    command = ["python", "-m", "cnnlab.train", "ablation=by_hand", "study.margin=0.6", "model.remove=[conv2]"]
    Plan("by_hand", "baseline", "0", command, [], variants, jobs, margin=0.006).write(directory)
    config = yaml.safe_dump(plain(compose("train", [])[0]))
    noise = np.random.default_rng(0)
    for job in jobs:
        shift, draw = shifts[job.variant], noise.normal(0, 0.001)
        if job.variant.startswith("later") or (job.variant == "few" and job.seed > 2):
            continue
        run = directory / job.run_dir
        (run / ".hydra").mkdir(parents=True)
        (run / ".hydra/config.yaml").write_text(config)
        failed = job.variant == "variant_3" and job.seed == 4
        info = {"status": "failed" if failed else "completed", "cause": "<b>no</b> memory" if failed else None}
        info |= {"config_hash": "0", "variant": job.variant, "removed": [], "overrides": [], "seed": job.seed}
        info |= {"git": {"commit": "c0ffee" * 6, "dirty": True}, "versions": {"torch": "2.15.0"}}
        info |= {"started": f"2026-11-2{job.seed}T08:00:00+00:00", "ended": f"2026-11-2{job.seed}T09:30:00+00:00"}
        write_json(run / "run.json", info)
        accuracy = 0.95 + 0.003 * np.sin(job.seed) + shift + draw
        write_json(
            run / "metrics.json", {"test/acc": accuracy, "val/acc": accuracy, "params": 60_000, "fit_seconds": 1.5}
        )
        (run / "csv/version_0").mkdir(parents=True)
        lines = [f"{epoch},{epoch},{accuracy - 0.1 / (epoch + 1)}" for epoch in range(4)]
        (run / "csv/version_0/metrics.csv").write_text("\n".join(["epoch,step,val/acc", *lines, ""]))
        if job.variant == "baseline":
            (run / "evaluate").mkdir()
            write_json(run / "evaluate/lesions-digits-mean.json", {"": 0.95, "conv2": 0.1, "fc3": 0.93})
    return directory


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The directory of that study, with its report."""
    directory = write_study(tmp_path_factory.mktemp("study"))
    report(directory)
    return directory


def opened(browser, directory: Path, width: int, scheme: str = "light"):
    """The page in a browser that is offline; whatever it asks for or complains of is a failure."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.context.set_offline(True)
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("file:") else trouble.append(request.url))
    page.goto(f"file://{directory}/report.html")
    assert not trouble
    return page


def test_the_verdict_comes_first_and_in_sentences(study):
    text = (study / "report.md").read_text()
    assert re.search(r"Without conv2 it loses [\d.]+ points \([\d.]+ to [\d.]+\), 8 seeds\.", text)
    assert re.search(r"pool_max gains [\d.]+ points \([\d.]+ to [\d.]+\), 8 seeds\.", text)
    assert "Without fc3 it changes by less than the margin of 0.60 points: equivalent" in text
    assert "few loses" in text
    assert "on 3 seeds, too few for a verdict." in text
    assert "14 of 96 runs are not completed: variant_3 s4 failed (<b>no</b> memory); " in text
    assert text.index("it loses") < text.index("## Comparison")
    assert "96 runs of 12 variants, seeds 0 to 7, 2026-11-20 08:00 to 2026-11-27 09:30 UTC" in text
    assert "torch 2.15.0, commit c0ffeec0ff with changes" in text
    assert "](differences.svg)" in text
    assert (study / "differences.svg").is_file()


@pytest.mark.parametrize("width", [1300, 400])
def test_nothing_is_wider_than_the_screen_and_no_text_too_small(study, browser, width):
    page = opened(browser, study, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """width => [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll table, svg svg"))
           .filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 90))""",
        width,
    )
    assert outside == []
    sizes = page.evaluate(
        """[...document.querySelectorAll("svg text, td, th, p, li, span, figcaption")].map(e => {
             const svg = e.closest("svg[viewBox]");
             const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
             return scale * parseFloat(getComputedStyle(e).fontSize);
           })"""
    )
    assert min(sizes) >= 11
    texts = page.locator("#differences > .forest > div").first
    boxes = [texts.locator(part).bounding_box() for part in ("b", "span >> nth=0", "svg >> nth=0")]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = a["x"] + a["width"] <= b["x"] + 1 or b["x"] + b["width"] <= a["x"] + 1
            assert apart or a["y"] + a["height"] <= b["y"] + 1 or b["y"] + b["height"] <= a["y"] + 1
    page.close()


LUMINANCE = """
(() => {
  const part = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = text => rgb(text).reduce((sum, v, i) => sum + [.2126, .7152, .0722][i] * part(v), 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  } };
  const shown = "h1, p, li, a, pre, th button, td, b, span, figcaption, svg text, .dot, .second";
  return [...document.querySelectorAll(shown)].map(e => {
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const front = !svg ? style.color : style.fill === "none" ? style.stroke : style.fill;
    const [low, high] = [luminance(front), luminance(behind(e))].sort((a, b) => a - b);
    return [(high + .05) / (low + .05), `${e.tagName} ${e.getAttribute("class")} ${front} on ${behind(e)}`];
  }).sort((a, b) => a[0] - b[0])[0];
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out_in_light_and_in_dark(study, browser, scheme):
    page = opened(browser, study, 1300, scheme)
    ratio, what = page.evaluate(LUMINANCE)
    assert ratio >= 4.5, what
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    page.close()


def test_tables_sort_by_click_and_by_key(study, browser):
    page = opened(browser, study, 1300)
    heads = page.locator("#comparison th").all_inner_texts()

    def column(header: str) -> list[str]:
        return page.locator(f"#comparison tbody td:nth-child({heads.index(header) + 1})").all_inner_texts()

    head = page.locator("#comparison th", has_text="difference")
    head.click(position={"x": 4, "y": 4})
    values = [float(v) for v in column("difference") if v]
    assert values == sorted(values)
    assert len(set(values)) > 5
    assert column("difference")[-1] == ""  # what has no number stays last
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    values = [float(v) for v in column("difference") if v]
    assert values == sorted(values, reverse=True)
    assert column("difference")[-1] == ""
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("#comparison th[aria-sort]").all_inner_texts() == ["95 % interval"]
    ends = [float(v.split()[0]) for v in column("95 % interval") if v]
    assert ends == sorted(ends)
    page.close()


def test_the_page_may_load_nothing_and_run_no_script_but_its_own(study, browser, tmp_path):
    path = tmp_path / "report.html"
    bad = '<script>document.title = "taken"</script><img src="x.png" onerror="document.title = \'taken\'">'
    path.write_text((study / "report.html").read_text().replace("</h1>", f"</h1>{bad}"))
    page = browser.new_page()
    page.goto(f"file://{path}")
    assert page.title() == "Study by_hand"
    page.locator("#comparison th button").first.click()  # its own runs
    assert page.locator("#comparison th[aria-sort]").count() == 1
    page.close()


def test_what_a_study_says_is_text_not_markup(study):
    html = (study / "report.html").read_text()
    assert "<b>no</b>" not in html
    assert "later_&amp;_more&lt;b&gt;" in html


def test_a_paper_can_include_the_table(study):
    tex = (study / "report.tex").read_text()
    assert r"\label{tab:by-hand-comparison}" in tex
    assert r"later\_\&\_more\textless{}b\textgreater{}" in tex
    row = next(line for line in tex.splitlines() if line.startswith("no\\_conv2 "))
    assert re.search(
        r"& 61,000 & 8 & 92\.\d\d \$\\pm\$ 0\.\d\d & \$-\$[23]\.\d\d & \$-\$3\.\d\d to \$-\$2\.\d\d & \$\\downarrow\$",
        row,
    )
    body = tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")].splitlines()[1:]
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", tex)[1]
    assert len(body) == 12
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(columns) - 1}
    assert [tex.count(rf"\begin{{{e}}}") - tex.count(rf"\end{{{e}}}") for e in ("table", "tabular")] == [0, 0]


def test_latex_escapes_what_it_would_take_for_commands():
    assert escape(r"a_b & 50% {x} #1 $ ~ ^ \n") == (
        r"a\_b \& 50\% \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{}n"
    )
    assert escape("-0.25 to +0.10, no-op, s-3") == "$-$0.25 to $+$0.10, no-op, s-3"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex on the path")
def test_the_table_compiles(study, tmp_path):
    shutil.copy(study / "report.tex", tmp_path)
    odd = Table([{"a_b": r"x & y % {z} #1 $ ~ ^ \n < > | ± ↓ ↑ ≈ ≲ ≳", "n": 1.5}])
    (tmp_path / "odd.tex").write_text(latex("t", "o_d/d", [Section("s", [Data("x", odd, "100 %_", media=("tex",))])]))
    lines = [r"\documentclass{article}\usepackage{booktabs}\begin{document}", r"\input{report}\input{odd}"]
    (tmp_path / "paper.tex").write_text("\n".join([*lines, r"\ref{tab:by-hand-comparison}\end{document}"]))
    for _ in range(2):
        done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"], cwd=tmp_path,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout


def test_a_section_written_once_is_in_page_markdown_and_latex_where_it_fits():
    from cnnlab.reporting.markdown import markdown
    from cnnlab.reporting.page import page

    rows = Table([{"kind": "a", "n": 1}])
    only = Section("Only pictures", [Figure("f", "<svg></svg>", "what it shows")])
    both = Section("Both", ["A line.", Data("d", rows, "Rows", media=("html", "md", "tex"))])
    text, html, tex = markdown("T", [only, both]), page("T", [only, both]), latex("T", "t", [only, both])
    assert "Only pictures" not in text
    assert "## Both\n\nA line.\n\n| kind | n |" in text
    assert "what it shows" in html
    assert "<h2>Both</h2>" in html
    assert r"\label{tab:t-d}" in tex


def test_cells_are_sorted_by_the_number_they_begin_with():
    cells = ["+0.10 to +0.30", "-2.5%", "99.1 ± 0.2", 3, "1e-05", "+0.1 (-0.2 to +0.4)", "-inf to +0.2"]
    assert [sort_key(cell) for cell in cells] == [0.1, -2.5, 99.1, 3, 1e-05, 0.1, float("-inf")]
    assert [sort_key(cell) for cell in ("16-wide", "3 of 4", None, "3 (a), 4 (b)", [1, 2])] == [
        "16-wide",
        "3 of 4",
        "",
        "3 (a), 4 (b)",
        "1x2",
    ]
    assert numeric(Table([{"a": "+0.1"}, {"a": None}]), "a")
    assert not numeric(Table([{"a": None}]), "a")
    assert not numeric(Table([{"a": 1}, {"a": "x"}]), "a")
