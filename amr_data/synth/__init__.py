"""Synthetic raw files for the demo, the tests and for trying things out: invented motion, never to be shown
as real data."""

from amr_data.synth.files import synthesize

__all__ = ["synthesize"]
