"""Train from Python and compare runs: step through the cells in an editor, or run `python examples/notebook.py`."""

# %% Train one run; what the command line takes is a list of overrides
from pathlib import Path

import cnnlab
from cnnlab.reporting.statistics import paired_difference

CONF = Path(__file__).parent / "mylab/conf"
STRIPES = ["experiment=stripes", "trainer=cpu"]  # conf/experiment/stripes.yaml, which trusts mylab

run = cnnlab.fit(STRIPES, CONF)
print(run)

# %% How it learned: a row for each epoch
print(run.history)

# %% What it answers, for images in memory
from mylab.data import draw  # noqa: E402

images = draw(count=3, size=20, seed=9).inputs
print(run.predict(images))

# %% What each layer is worth to the trained network: its output is replaced by the mean
print(run.evaluate(lesion="each"))

# %% Is a layer worth its place? Train with and without it, from the same seeds
SEEDS = range(6)
whole = [cnnlab.fit([*STRIPES, f"seed={seed}"], CONF) for seed in SEEDS]
without = [cnnlab.fit([*STRIPES, f"seed={seed}", "model.remove=[where]"], CONF) for seed in SEEDS]

# %% Beside each other: what differs in their configs, and their metrics
table = cnnlab.compare([*whole, *without])
for row in table:
    print({key: row[key] for key in ("model.remove", "seed", "params", "test/acc", "test/calibration_error")})

# %% The difference, paired by seed, with its 95 % interval; fewer than six seeds have none
difference = paired_difference(
    [r.metrics["test/acc"] for r in without],
    [r.metrics["test/acc"] for r in whole],
)
print(f"without the coordinates: {difference.mean:+.4f}, from {difference.low:+.4f} to {difference.high:+.4f}")
