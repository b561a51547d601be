"""Networks as ordered, named layers: vocabulary, building, layer table."""
