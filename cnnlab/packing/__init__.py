"""Train several runs of one structure as one batched network."""
