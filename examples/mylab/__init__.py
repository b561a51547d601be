"""Extend cnnlab from outside, with one example of each kind of part; `trusted_modules=[mylab]` imports this package."""

from mylab import data, layers, objectives  # noqa: F401  # importing them registers their parts
