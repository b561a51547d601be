"""Draw a bar for each layer of a network, with its value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnlab.inspection.pictures import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bars(shares: Mapping[str, float], label: str, whole: tuple[str, float] | None = None) -> "Figure":
    """Draw shares (1 is 100 %) by name as horizontal bars, the first at the top.

    `whole`, a name and a share, is drawn as a line across all bars.
    """
    drawn = figure(6, 0.8 + 0.24 * (len(shares) + (whole is not None)))
    axes = drawn.add_subplot()
    names, values = list(shares), [100 * value for value in shares.values()]
    axes.barh(names, values, height=0.7, color="#4c78a8")
    end = max(*values, 100 * whole[1] if whole else 0, 1)
    for place, value in enumerate(values):
        colour, side = ("white", "right") if value > end / 8 else ("black", "left")
        axes.text(value, place, f" {value:.1f} ", va="center", ha=side, color=colour, fontsize=8)
    if whole is not None:
        axes.axvline(100 * whole[1], color="#b03a2e", linewidth=1, label=f"{whole[0]} {100 * whole[1]:.1f}")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, fontsize=8)
    axes.set_xlim(0, 1.02 * end)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn
