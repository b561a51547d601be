"""What watches a run, one file per thing looked at."""
