"""Train from Python and compare runs: step through the cells in an editor, or run `python examples/notebook.py`."""

# %% Train one run; its overrides are those of the command line, as a list
from pathlib import Path

import cnnlab
from cnnlab.reporting.statistics import paired_difference

CONF = Path(__file__).parent / "mylab/conf"
STRIPES = ["experiment=stripes", "trainer=cpu"]  # conf/experiment/stripes.yaml, which trusts mylab

run = cnnlab.fit(STRIPES, CONF)
print(run)

# %% Its history: a row for each epoch
print(run.history)

# %% Predict images in memory
from mylab.data import draw  # noqa: E402

images = draw(count=3, size=20, seed=9).inputs
print(run.predict(images))

# %% Test the trained network without each layer, whose output is replaced by its mean
print(run.evaluate(lesion="each"))

# %% Train the network with and without a layer, from the same seeds
SEEDS = range(6)
whole = [cnnlab.fit([*STRIPES, f"seed={seed}"], CONF) for seed in SEEDS]
without = [cnnlab.fit([*STRIPES, f"seed={seed}", "model.remove=[where]"], CONF) for seed in SEEDS]

# %% Compare the runs: the keys in which their configs differ, and their metrics
table = cnnlab.compare([*whole, *without])
for row in table:
    print({key: row[key] for key in ("model.remove", "seed", "params", "test/acc", "test/calibration_error")})

# %% The difference, paired by seed, with its 95 % confidence interval, which needs at least six seeds
difference = paired_difference(
    [r.metrics["test/acc"] for r in without],
    [r.metrics["test/acc"] for r in whole],
)
print(f"without the coordinates: {difference.mean:+.4f}, from {difference.low:+.4f} to {difference.high:+.4f}")
