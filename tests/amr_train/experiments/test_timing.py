"""How a step is measured, by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from amr_train.experiments import timing
from amr_train.experiments.timing import CPU_CLIPS, SHORT_SECONDS


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only steps spend."""
    spent = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: spent[0])
    return spent


def steps(
    clock: list[float], always: float, each: float, seen: list[int]
) -> Callable[[int], Callable[[], object]]:
    """Steps that cost something however few their clips, and something for each; the first twice that."""

    def step_of(clips: int) -> Callable[[], object]:
        first = iter([2])

        def step() -> None:
            seen.append(clips)
            clock[0] += (always + each * clips) * next(first, 1)

        return step

    return step_of


def test_what_a_step_costs_by_itself_is_counted_once_a_batch(clock):
    seen: list[int] = []
    found = timing._measured(steps(clock, 0.04, 0.001, seen), 32, torch.device("cpu"))
    assert found * 32 == pytest.approx(0.04 + 0.032)
    assert seen == [CPU_CLIPS] * 3 + [32] * 3


def test_a_batch_that_takes_long_is_told_from_a_few_of_its_clips(clock):
    seen: list[int] = []
    each = 2 * SHORT_SECONDS / 32
    found = timing._measured(steps(clock, 0.0, each, seen), 32, torch.device("cpu"))
    assert found == pytest.approx(each)
    assert set(seen) == {CPU_CLIPS}


def test_of_fewer_clips_than_that_all_are_measured(clock):
    seen: list[int] = []
    found = timing._measured(steps(clock, 0.04, 0.001, seen), 2, torch.device("cpu"))
    assert found * 2 == pytest.approx(0.042)
    assert set(seen) == {2}
