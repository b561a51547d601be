"""Data as tensors: sources, splits, batches, augmentation."""
