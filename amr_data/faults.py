"""The public name of `amr_data.looking.faults`."""

from amr_data.looking.faults import Fault, find_faults

__all__ = ["Fault", "find_faults"]
