"""Load trained networks and use them: evaluate, predict, silence layers, distort inputs, export."""
