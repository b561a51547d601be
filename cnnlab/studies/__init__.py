"""Plan, execute and search: from a Hydra multirun to finished run directories."""
