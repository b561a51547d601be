"""Compose, check and identify configs; the only room, with the sweeps and commands, that knows Hydra."""
