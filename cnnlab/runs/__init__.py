"""Read and write run directories and study plans."""
