"""Start and coordinate the processes of a run."""
