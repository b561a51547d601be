"""Compose, check and identify configs; only this package, the studies and the commands use Hydra."""
