"""docs/reference.md is what docs/reference.py writes, and leaves no meaning out."""

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def written():
    return runpy.run_path(str(DOCS / "reference.py"))["page"]()


def test_the_reference_is_current(written):
    assert written == (DOCS / "reference.md").read_text(encoding="utf-8"), "make reference writes it anew"


def test_nothing_in_it_lacks_a_meaning(written):
    rows = re.findall(r"^\| .*", written, re.M)
    assert len(rows) > 300
    assert [row for row in rows if re.search(r"\| *\|$", row)] == []


def test_the_formula_of_an_activation_names_its_options(written):
    rows = re.findall(
        r"^\| (`\w+`) \| (`.*`) \| (.+) \|$", written.partition("## Activations")[2].partition("## ")[0], re.M
    )
    assert len(rows) > 5
    for name, options, formula in rows:
        for option in re.findall(r"`(\w+)=", options):
            assert re.search(rf"(?<![A-Za-z]){option}(?![A-Za-z])", formula), (name, option)
