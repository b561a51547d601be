"""Train one run: assemble its parts from the config, fit, test, record."""
