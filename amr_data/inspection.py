"""The public name of `amr_data.looking.inspection`."""

from amr_data.looking.inspection import class_energy, clip_facts, dataset_summary, find_class, find_clips

__all__ = ["class_energy", "clip_facts", "dataset_summary", "find_class", "find_clips"]
