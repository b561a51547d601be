"""Plain PyTorch, written as well as we can: what cnnlab is measured against. One loop a file."""
