"""Plot two claims of the lectures, sigmoid gradients vanish and ReLU units die, and write the plots to docs/.

python benchmarks/claims.py
"""

import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cnnlab

DOCS = Path(__file__).parents[1] / "docs"
OTHERS = [
    f"~callbacks.{name}" for name in ("filters", "mistakes", "features", "saliency", "embeddings", "probe", "shifts")
]
HEALTH = ["callbacks=inspect", *OTHERS, "callbacks.health.every_n_epochs=1", "trainer.log_every_n_steps=10"]


def curves(overrides: list[str], what: str) -> dict[str, tuple[list[int], list[float]]]:
    """Train a run; returns steps and values of a scalar of the looker `health`, by layer."""
    with tempfile.TemporaryDirectory() as output:
        run = cnnlab.fit([*HEALTH, *overrides, f"output_dir={output}"])
        events = EventAccumulator(str(run.directory), size_guidance={"scalars": 0}).Reload()
        tags = [t for t in events.Tags()["scalars"] if t.startswith("within health/") and t.endswith(f"/{what}")]
        found = {tag.split("/")[1]: events.Scalars(tag) for tag in tags}
        order = [name for name in run.config["model"]["layers"] if name in found]
        return {n: ([e.step for e in found[n]], [e.value for e in found[n]]) for n in order}


def draw(path: Path, panels: dict[str, dict[str, tuple[list[int], list[float]]]], label: str, log: bool) -> None:
    figure = Figure((9, 3.4), layout="constrained")
    first = None
    for place, (title, lines) in enumerate(panels.items()):
        first = axes = figure.add_subplot(1, len(panels), place + 1, sharey=first)
        for name, (steps, values) in lines.items():
            axes.plot(steps, values, label=name)
        axes.set(title=title, xlabel="step", yscale="log" if log else "linear")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if not place:
            axes.set_ylabel(label)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    print(path)


def main() -> None:
    deep = ["data=mnist", "model=mlp_sigmoid", "model.init=xavier_normal", "optimizer.lr=0.001", "trainer.max_epochs=1"]
    vanish = {name: curves([*deep, f"model.activation={name}"], "gradient norm") for name in ("sigmoid", "relu")}
    draw(DOCS / "vanishing.png", vanish, "gradient norm of the weights", log=True)
    net = ["model=lenet5", "model.activation=relu", "optimizer=sgd", "optimizer.momentum=0.9", "scheduler=constant"]
    rates = ("0.02", "0.3")
    dying = {f"learning rate {r}": curves([*net, f"optimizer.lr={r}", "trainer.max_epochs=10"], "dead") for r in rates}
    draw(DOCS / "dying.png", dying, "share of dead ReLU units", log=False)


if __name__ == "__main__":
    main()
