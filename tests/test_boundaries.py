"""What each room may import; facts flow one way."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cnnlab"
TOP = {"torch", "numpy"}
RULES = {
    "models/*.py": TOP,
    "data/sources.py": TOP | {"filelock"},
    "data/verify.py": set(),
    "data/images.py": TOP | {"PIL"},  # PIL for types alone
    "data/folder.py": TOP,
    "data/xo.py": TOP,
    "data/augment.py": TOP,
    "data/loader.py": TOP,
    "data/stream.py": TOP,
    "data/splits.py": TOP,
    "data/shared.py": TOP,
    "data/packed.py": TOP,
    "data/datamodule.py": TOP | {"lightning"},
    "optim.py": TOP,
    "classifier.py": TOP | {"lightning", "torchmetrics"},
    "callbacks/*.py": TOP | {"lightning", "rich", "tensorboard", "matplotlib"},  # matplotlib for types alone
    "distortions.py": TOP | {"torchvision"},
    "lesions.py": TOP,  # for types alone
    "reporting/*.py": {"numpy", "matplotlib"},  # matplotlib for types alone
    "studies.py": set(),
    "names.py": set(),
    "runs.py": set(),
    "train.py": {"omegaconf"},
    "training.py": {"lightning"},  # for types alone
    "pack.py": TOP | {"lightning"},
    "together.py": TOP | {"lightning"},
    "checks.py": set(),
    "config.py": {"hydra", "omegaconf", "yaml"},
}
STANDARD = set(__import__("sys").stdlib_module_names)


def imported(path: Path) -> set[str]:
    """Top-level imports, so not those inside functions, which wait until they are needed."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, (ast.Import, ast.ImportFrom))]
    nodes = [n for n in nodes if n.col_offset == 0 or (n.col_offset == 4 and is_type_checking(path, n))]
    names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    return {n.partition(".")[0] for n in names} - STANDARD - {"cnnlab"}


def is_type_checking(path: Path, node: ast.AST) -> bool:
    lines = path.read_text().splitlines()[: node.lineno]
    return next((line for line in reversed(lines) if line and line[0] != " "), "").startswith("if TYPE_CHECKING")


@pytest.mark.parametrize("pattern", RULES)
def test_a_room_imports_only_what_it_may(pattern):
    files = list(PACKAGE.glob(pattern))
    assert files
    for path in files:
        assert imported(path) <= RULES[pattern], path


def test_networks_and_sources_do_not_know_the_rooms_after_them():
    for path in [*PACKAGE.glob("models/*.py"), *PACKAGE.glob("data/*.py")]:
        text = path.read_text()
        assert not any(f"cnnlab.{room}" in text for room in ("config", "train", "runs", "classifier", "callbacks")), (
            path
        )
