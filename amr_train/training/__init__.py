"""The training loop and what surrounds it: schedule, checkpoints, divergence, the folder of a run."""
