"""Skeletons, datasets and name lists as data: a new dataset of a known raw family is a new YAML file here,
and no code."""
