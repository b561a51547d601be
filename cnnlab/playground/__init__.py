"""The page in which a trained network runs live: the network described as data, and the page that computes it."""
