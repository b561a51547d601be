"""Everything that can be added to cnnlab from outside, once each; `trusted_modules=[mylab]` imports it."""

from mylab import data, layers, objectives  # noqa: F401  # which register what they hold
