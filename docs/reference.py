"""Write docs/reference.md from registries, signatures, docstrings and the comments of conf/."""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml

from cnnlab.config.compose import conf_dir
from cnnlab.data.augment import AUGMENTATIONS
from cnnlab.models import activations, initialisation, losses
from cnnlab.models.layers import KINDS
from cnnlab.models.units import MODEL_WIDE, NORMS
from cnnlab.trained.distortions import DISTORTIONS
from cnnlab.trained.sound_distortions import SOUND_DISTORTIONS

PAGE = Path(__file__).with_name("reference.md")
KEYS = "key | default | meaning"
INTRO = """Every key, choice and option, from signatures, docstrings and the comments of `conf/`; `make reference`
writes it anew. The [other pages](../README.md#pages) tell how to use them."""
COMMANDS = "The first keys of `train` are groups, as in `model=lenet5`; the sections below have their choices and keys."
LAYERS = """A layer is a mapping with a `kind` and the options of that kind. It may also have {wide}, in place of the
model's, and `after`, the layer (or `input`) behind which it is inserted. The model's choices are for units, {units}:
`dropout` for dense ones alone, `init` for every kind with weights. Dense kinds, {dense}, flatten what comes in."""
AUGMENTS = "What the chosen file lacks is added, as in `+augment.flip.alternate=true`; `augment.flip=null` drops one."
FORMULAS = "One with options is written `{kind: leaky_relu, negative_slope: 0.2}`."
LOOKERS = "`python -m cnnlab.inspect` takes those of `callbacks=inspect`, the lookers; `~callbacks.filters` drops one."
Row = tuple[str, str, str]  # a key or option, its default, what it means
Thing = tuple[str, str, list[Row]]  # a name, what it is, its options


def nodes(mapping: yaml.MappingNode, text: str, prefix: str = "") -> Iterator[Row]:
    """Yield keys, values and comments: groups behind "/", "" as the value of a mapping whose own keys follow."""
    for key, value in mapping.value:
        source = text[value.start_mark.index : value.end_mark.index].strip()
        comment = re.search(r"\s# (.+)", text.splitlines()[key.start_mark.line])
        opened = isinstance(value, yaml.MappingNode) and value.value and key.value != "layers"
        if key.value == "defaults":
            for group in value.value:
                yield from nodes(group, text, "/") if isinstance(group, yaml.MappingNode) else ()
        elif key.value != "hydra":
            default = "required" if source == "???" else "`{...}`" if "\n" in source else f"`{source}`"
            yield prefix + key.value.removeprefix("optional "), "" if opened else default, comment[1] if comment else ""
            yield from nodes(value, text, f"{prefix}{key.value}.") if opened else ()


def read(name: str) -> tuple[str, list[Row]]:
    """Return the comment at the head of a shipped config, and its keys."""
    text = (conf_dir() / f"{name}.yaml").read_text()
    head = re.match(r"(?:# @package.*\n)?((?:# .*\n)*)", text)
    return " ".join(re.findall("# (.+)", head[1] if head else "")), list(nodes(yaml.compose(text), text))


def choices(group: str) -> list[str]:
    """Return the choices of a group; of "." the commands."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def own_keys(group: str, choice: str) -> list[Row]:
    """Return a choice's keys, with those of other files of conf/common/ than its group's, such as what sounds have."""
    named = re.findall(r"/common/(\w+)@", (conf_dir() / f"{group}/{choice}.yaml").read_text())
    rows = {key: row for name in named if name != group for row in read(f"common/{name}")[1] for key in row[:1]}
    for key, value, comment in read(f"{group}/{choice}")[1]:
        rows[key] = (key, value, comment or rows.get(key, ("", "", ""))[2])
    return list(rows.values())


def keys(group: str) -> list[Row]:
    """Return a group's keys: what conf/common/ has, what the default choice has, what others have beside."""
    first = next(value.strip("`") for key, value, _ in read("train")[1] if key == f"/{group}")
    common = read(f"common/{group}")[1] if group in choices("common") else []
    meanings = {key: comment for key, _, comment in common}
    values: dict[str, dict[str, list[str]]] = {key: {value: []} for key, value, _ in common}  # each with its choices
    fixed = {key for key, *_ in read(f"{group}/{first}")[1]} - set(values)
    for choice in sorted(choices(group), key=lambda choice: choice != first):
        for key, value, comment in own_keys(group, choice):
            if not value or key[0] == "/" or key.rpartition(".")[0] in values:  # the last is an option of a value
                continue
            meanings[key] = meanings.get(key) or comment
            there = values.setdefault(key, {})
            if key in fixed and not there:
                there[value] = []
            elif key not in fixed and there.get(value) != []:
                there.setdefault(value, []).append(choice)
    told = {key: ", ".join(_where(*item) for item in there.items()) for key, there in values.items()}
    return [(f"{group}.{key}", told[key], meanings[key]) for key in told]


def _where(value: str, those: list[str]) -> str:
    """Return a value with the choices that have it, or with their number where they are many."""
    names = " and ".join(those) if len(those) < 4 else f"{len(those)} choices"
    return f"{value} in {names}" if those else value


def first_line(thing: Any) -> str:
    """Return what a docstring says first."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def arguments(thing: Any) -> dict[str, str]:
    """Return what the Args of a docstring say, of a class with those of its bases."""
    docs = [base.__doc__ or "" for base in (reversed(thing.__mro__) if isinstance(thing, type) else [thing])]
    sections = [re.search(r"^Args:\n((?: +.*(?:\n|$))*)", inspect.cleandoc(doc), re.M) for doc in docs]
    entries = [re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section[1], re.M) for section in sections if section]
    return {name: " ".join(text.split()) for some in entries for names, text in some for name in names.split(", ")}


def options(function: Callable[..., Any], skip: int, *without: str) -> list[Row]:
    """Return the options behind a function's first arguments; what many share, its module's docstring tells."""
    told = arguments(inspect.getmodule(function)) | arguments(function)
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    parameters = [p for p in parameters if p.name not in without and "VAR" not in p.kind.name]
    defaults = ["required" if p.default is p.empty else f"`{json.dumps(p.default)}`" for p in parameters]
    return [(p.name, default, told.get(p.name, "")) for p, default in zip(parameters, defaults, strict=True)]


def commented(module: Any) -> dict[str, str]:
    """Return the comments behind the entries of a module's tables."""
    return dict(re.findall(r'^    "(\w+)": .+,  # (.+)$', inspect.getsource(module), re.M))


def made(group: str) -> Iterator[Thing]:
    """Yield what a group's `_target_`s make, with the keys beside them."""
    for choice in choices(group):
        head, rows = read(f"{group}/{choice}")
        comments = {key: text for key, _, text in rows}
        for place, target in [(key.removesuffix("_target_"), v) for key, v, _ in rows if key.endswith("_target_")]:
            module, _, name = target.strip("`").rpartition(".")
            kind = getattr(import_module(module), name) if module.startswith("cnnlab") else object
            own = [(key.removeprefix(place), v, text) for key, v, text in rows if key.startswith(place) and v]
            own = [(key, v, text or arguments(kind).get(key, "")) for key, v, text in own if key != "_target_"]
            yield place[:-1] or choice, (comments[place[:-1]] or first_line(kind)) if place else head, own


def commands() -> Iterator[Thing]:
    """Yield the commands, each with its groups and keys."""
    for name in sorted(choices("."), key=lambda name: name != "train"):
        if (PAGE.parents[1] / f"cnnlab/{name}.py").is_file():
            rows = read(name)[1]
            groups = {key for key, *_ in rows if key[0] == "/"}
            own = [(key.lstrip("/"), *rest) for key, *rest in rows if f"/{key}" not in groups]
            yield name, first_line(import_module(f"cnnlab.{name}")), own


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table whose first column holds names; what Markdown would take for its own is escaped."""
    lines = [head, re.sub(r"[^|]+", " --- ", head).strip()]
    for name, *rest in rows:
        cells = " ¦ ".join([f"`{name}`" if name else "", *(text.removesuffix(".") for text in rest)])
        own = re.sub(r"`[^`]*`|[<*~]|(?<!\w)_|_(?!\w)", lambda m: m[0] if m[0][0] == "`" else "\\" + m[0], cells)
        lines.append(own.replace("|", r"\|").replace("¦", "|"))
    return "\n".join(f"| {line} |" for line in lines)


def things(head: str, entries: Iterable[Thing]) -> str:
    """Return a table of things, each with its options in the rows below."""
    rows = [[(name, "", "", what), *(("", f"`{key}`", *rest) for key, *rest in own)] for name, what, own in entries]
    return table(f"{head} | default | meaning", (row for own in rows for row in own))


def chosen(group: str) -> str:
    """Return a table of a group's choices."""
    return table(f"`{group}=` | what", ((choice, read(f"{group}/{choice}")[0]) for choice in choices(group)))


def page() -> str:
    """Return the text of docs/reference.md."""
    kinds = [
        (name, first_line(kind.make), options(kind.make, 1, "num_classes", "words")) for name, kind in KINDS.items()
    ]
    units, dense = [n for n, k in KINDS.items() if k.unit], [n for n, k in KINDS.items() if k.dense]
    wide, units, dense = (", ".join(f"`{name}`" for name in names) for names in (MODEL_WIDE, units, dense))
    bends = []
    for name, make in activations.ACTIVATIONS.items():
        given = options(type(make(4)), 0, "channels", "num_parameters", "inplace", "device", "dtype")
        formula = commented(activations).get(name) or " ".join((type(make(4)).__doc__ or "").split())
        bends.append((name, ", ".join(f"`{option}={default.strip('`')}`" for option, default, _ in given), formula))
    norms = [(name, f"`{kind}`", first_line(KINDS[kind].make)) for name, kind in NORMS.items()]
    draws = [(name, commented(initialisation).get(name, "")) for name in initialisation.SCHEMES]
    aims = [(name, commented(losses).get(name) or first_line(loss)) for name, loss in losses.LOSSES.items()]
    changes = [(name, first_line(change), options(change, 2, "turn")) for name, change in AUGMENTATIONS.items()]
    harms, noises = (
        table(
            "distortion | amounts | what",
            [(name, ", ".join(map(str, amounts)), first_line(harm)) for name, (harm, amounts) in some.items()],
        )
        for some in (DISTORTIONS, SOUND_DISTORTIONS)
    )
    sections: list[tuple[str, ...]] = [
        ("Commands", COMMANDS, things("`python -m cnnlab.` | key", commands())),
        ("Data", chosen("data"), table(KEYS, keys("data"))),
        ("Networks", chosen("model"), table(KEYS, keys("model"))),
        ("Layers", LAYERS.format(wide=wide, units=units, dense=dense), things("kind | option", kinds)),
        ("Activations", FORMULAS, table("activation | options | what", bends)),
        ("Norms", table("`norm` | kind | what", norms)),
        ("Initial weights", table("`init` | what", draws)),
        ("Losses", table("`loss` | what", aims)),
        ("Optimizers", things("`optimizer=` | `optimizer.`", made("optimizer"))),
        ("Schedules", things("`scheduler=` | `scheduler.`", made("scheduler"))),
        ("Augmentation", chosen("augment"), AUGMENTS, things("`augment.` | option", changes)),
        ("Trainer", chosen("trainer"), table(KEYS, keys("trainer"))),
        ("Callbacks", chosen("callbacks"), LOOKERS, things("`callbacks.` | option", made("callbacks"))),
        ("Loggers", things("`logger.` | option", made("logger"))),
        ("Experiments", chosen("experiment")),
        ("Studies", chosen("ablation"), things("`hydra/sweeper=` | `hydra.sweeper.`", made("hydra/sweeper"))),
        ("Distortions", "The first amount changes nothing.", harms, "Those of sounds:", noises),
    ]
    links = " · ".join(f"[{title}](#{title.lower().replace(' ', '-')})" for title, *_ in sections)
    parts = ["# Reference", INTRO, links, *(part for title, *own in sections for part in (f"## {title}", *own))]
    return "\n\n".join(p if p[0] in "#|" else fill(p, 120, break_on_hyphens=False) for p in parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
