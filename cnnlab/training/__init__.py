"""Train one run: assemble what its config describes, fit, test, record."""
