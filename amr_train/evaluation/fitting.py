"""How many clips go through an encoder at once: on a GPU the most that its memory holds, found by trying."""

from __future__ import annotations

from collections.abc import Callable

import torch

from amr_data import AmrError

SPARE = 1.25
"""What is tried is so much larger than what is taken: features and labels need room as well."""
MOST = 4096
"""Clips beyond which a GPU gains nothing."""


def largest_batch(attempt: Callable[[int], object], first: int, most: int) -> int:
    """The largest of `first`, doubled again and again up to `most`, or halved where it is too large itself,
    at which `attempt` does not run out of memory.

    Args:
        attempt: does the work with so many clips, and may raise torch.OutOfMemoryError.
    Raises: AmrError where not even one clip fits.
    """
    size = max(1, min(first, most))
    while not _fits(attempt, size):
        if size == 1:
            raise AmrError("the device's memory does not hold the encoder's work on a single clip")
        size //= 2
    if size < min(first, most):
        return size
    while size < most and _fits(attempt, min(2 * size, most)):
        size = min(2 * size, most)
    return size


def _fits(attempt: Callable[[int], object], size: int) -> bool:
    try:
        attempt(int(SPARE * size))
    except torch.OutOfMemoryError:
        return False
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # what was tried must not be in the way of what comes
    return True
