"""Training: the loop, gradient routing, checkpoints."""
