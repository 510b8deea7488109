"""What is in a dataset and what is suspicious about it."""
