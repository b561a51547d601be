"""Write pages in which a trained network runs live: the network as data, and scripts that compute it."""
