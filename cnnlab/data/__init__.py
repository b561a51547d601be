"""Data as tensors: sources, batches, augmentation, the datamodule."""
