"""Write the page of a run: one HTML file with its styles, its scripts, the network and the pictures inside."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

from cnnlab.playground.assets import hash_of, read, scripts
from cnnlab.playground.assets import style as styles
from cnnlab.playground.content import content
from cnnlab.playground.pair import pair
from cnnlab.playground.snapshots import over_time
from cnnlab.playground.store import Store
from cnnlab.reporting.steps import steps
from cnnlab.runs.record import Record
from cnnlab.training.load import form_of

# scripts of the worker and of the page, in the order of concatenation
SHARED = ("shapes", "graph", "tensors")
ENGINE = (*SHARED, "gemm", "activations", "convolution", "operations", "network", "worker")
PAGE = (
    *SHARED, "unpack", "client", "elements", "axes", "colours", "words", "prepare", "drawing", "pictures", "answer",
    "grid", "matrix", "sums", "origins", "layers", "edges", "silence", "filters", "player", "time", "main",
)  # fmt: skip


def play(run: Record, pictures: int, beside: Record | None = None) -> Path:
    """Write `play/index.html` in a run's directory; return its path.

    Args:
        run: a finished run.
        pictures: validation pictures in the page, at most.
        beside: a second run, whose network classifies the same drawing; the page is `play/with-<its directory>.html`.

    Raises:
        ValueError: there is no checkpoint, the page cannot compute a network, two networks do not take the same
            pictures, or the examples are no pictures.
    """
    for record in (run, beside):
        if record and len(form_of(record).axes) != 3:
            name = record.config["data"]["name"]
            raise ValueError(f"play shows pictures, and data={name} holds {form_of(record).name}s")
    with steps("play", 4) as step:
        described, store = content(run, pictures, step) if beside is None else pair(run, beside, pictures, step)
        step("snapshots")
        described["time"] = [] if beside else over_time(run, described, store)
        step("page")
        name = "index" if beside is None else f"with-{beside.directory.resolve().name}"
        page = run.directory / "play" / f"{name}.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text(html(described, store), encoding="utf-8")
    return page


def html(described: dict[str, Any], store: Store) -> str:
    """Render the page.

    Its content security policy allows its own script, by hash, and a worker made of its own text; no network address.
    """
    from jinja2 import Environment

    style, script = styles(), scripts(PAGE)
    template = Environment(autoescape=True, trim_blocks=True).from_string(read("page/index.html"))
    policy = (
        "default-src 'none'; img-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'; "
        f"script-src {hash_of(script)} 'wasm-unsafe-eval'; style-src {hash_of(style)}"
    )
    return template.render(
        title=described["title"],
        time=described.get("time"),
        lead=described["lead"],
        example=described.get("example", "picture"),
        drawn=described.get("drawn", True),
        networks=[
            {"suffix": suffix, "name": entry.get("name"), "lead": entry.get("note")}
            for suffix, entry in (("", described), ("-b", described.get("beside")))
            if entry is not None
        ],
        policy=policy,
        style=style,
        script=script,
        engine=scripts(ENGINE),
        network=json.dumps(described, separators=(",", ":")).replace("<", "\\u003c"),
        numbers=base64.b64encode(gzip.compress(bytes(store.bytes), mtime=0)).decode(),
    )
