"""cnnlab."""
