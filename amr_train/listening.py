"""Who follows the work: one interface for the terminal's panel, the run's folder and a user's own code."""

from __future__ import annotations

import time
from collections.abc import Sequence

from amr_data.shards.layout import Progress

PATIENCE = 1.0
"""Seconds after which work that usually takes less is announced."""


class Listener:
    """Is told what happens; each method does nothing here, so that a listener overrides what it wants to
    hear."""

    def stage(self, title: str) -> None:
        """What begins now."""

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        """How far the stage is, and its figures of the moment."""

    def log(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Figures that are kept: of a stage, at a step of it (an epoch)."""

    def rewind(self, step: int) -> None:
        """What was logged beyond this step will be said again: the run is taken up there."""

    def warn(self, line: str) -> None:
        """What a user should know."""

    def following(self, title: str) -> Progress:
        """For work that tells how many of its parts are done, and of how many: a stage of its own, if it
        takes longer than `PATIENCE`."""
        began, announced = time.monotonic(), False

        def told(done: int, total: int) -> None:
            nonlocal announced
            if not announced and done < total and time.monotonic() - began >= PATIENCE:
                self.stage(title)
                announced = True
            if announced:
                self.advance(done, total, {})

        return told


class Listeners(Listener):
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners

    def stage(self, title: str) -> None:
        for listener in self.listeners:
            listener.stage(title)

    def advance(self, done: int, total: int, metrics: dict[str, float]) -> None:
        for listener in self.listeners:
            listener.advance(done, total, metrics)

    def log(self, stage: str, step: int, values: dict[str, float]) -> None:
        for listener in self.listeners:
            listener.log(stage, step, values)

    def rewind(self, step: int) -> None:
        for listener in self.listeners:
            listener.rewind(step)

    def warn(self, line: str) -> None:
        for listener in self.listeners:
            listener.warn(line)
