"""Train several runs of equal structure as one batched network."""
