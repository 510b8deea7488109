"""The public name of `amr_data.looking.faults`."""

from amr_data.looking.faults import KINDS, find_faults, kinds_for
from amr_data.looking.words import fault_in_words

__all__ = ["KINDS", "fault_in_words", "find_faults", "kinds_for"]
