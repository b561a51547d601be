"""Rows to tables; knows nothing of torch."""
