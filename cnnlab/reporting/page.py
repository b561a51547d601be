"""A study as one HTML file that works offline."""

import re
import shlex
from pathlib import Path
from typing import Any

from cnnlab.reporting import plots, units
from cnnlab.reporting.comparison import remarks, table
from cnnlab.reporting.study import Study
from cnnlab.reporting.tables import Table, show


def page(study: Study) -> str:
    """The page: comparison, plots, runs, command and versions."""
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True)
    row = environment.from_string(
        "<thead><tr>{% for c in columns %}<th>{{ c }}</th>{% endfor %}</tr></thead><tbody>"
        "{% for row in rows %}<tr>{% for c in columns %}"
        "<td data-value='{{ sortable(row[c]) }}'{% if c in ('verdict', 'status') %} class='{{ row[c] }}'{% endif %}>"
        "{% if c == 'run_dir' %}<a href='{{ row[c] }}/'>{{ row[c] }}</a>{% else %}{{ show(row[c]) }}{% endif %}</td>"
        "{% endfor %}</tr>\n{% endfor %}</tbody>"
    )

    def rows(of: Table) -> Markup:
        return Markup(row.render(columns=of.columns, rows=of, show=show, sortable=_sortable))

    template = environment.from_string((Path(__file__).with_name("page.html")).read_text(encoding="utf-8"))
    return template.render(
        title=f"Study {study.name}",
        remarks=remarks(study),
        comparison=table(study),
        runs=study.rows,
        rows=rows,
        baseline=study.baseline,
        measure=units.word(study.measure),
        plots={
            "differences": plots.differences(study),
            "params": plots.against(study, "params", "parameters"),
            "macs": plots.against(study, "macs", "multiply-adds per image"),
            "curves": plots.learning_curves(study),
        },
        command=shlex.join(study.command),
        versions=study.versions,
    )


def _sortable(value: Any) -> str:
    """What a cell is sorted by: its number, where it has one."""
    if value is None:
        return ""
    number = re.match(r"[+-]?\d+(\.\d+)?", str(value)) if isinstance(value, str) else None
    if number and re.match(r"[+-]|\d+(\.\d+)?$", str(value)):
        return number[0]
    return str(value)
