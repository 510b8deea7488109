"""Which clips are one performance seen by several cameras, and views of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from amr_data import UsageError
from amr_train import load_experiment
from amr_train.config import AgreementConfig
from amr_train.data.feed import Feed
from amr_train.data.performances import check_cameras, other_cameras, performances_of
from amr_train.identity import training_digest
from tests.amr_train.tracing import clips

CPU = torch.device("cpu")
FIELDS = ("setup", "subject", "replication", "label", "camera")
ASKED = AgreementConfig(contrast=0.1, cameras=1.0)


def table(*rows: tuple[int, ...]):
    return np.array(list(rows), [(name, np.int32) for name in FIELDS])


SEEN = table(
    (-1, 1, 0, 4, 1),
    (-1, 1, 0, 4, 2),  # the same, from elsewhere
    (-1, 1, 1, 4, 1),  # once more, by one camera alone
    (-1, 1, 0, 5, 2),  # another class
    (-1, 1, 0, 4, 3),
    (-1, 2, 0, 4, 1),
    (-1, 2, 0, 4, 2),
    (2, 2, 0, 4, 3),  # in another room
)


def pairs(found) -> list[set[int]]:
    first, count, others = found
    return [set(others[a : a + n].tolist()) for a, n in zip(first, count, strict=True)]


def test_other_cameras_by_hand():
    assert pairs(other_cameras(SEEN)) == [{1, 4}, {0, 4}, set(), set(), {0, 1}, {6}, {5}, set()]


@pytest.mark.parametrize("field", ["subject", "replication", "label", "camera"])
def test_what_is_not_known_makes_no_performance(field):
    unknown = SEEN.copy()
    unknown[field] = -1
    assert not len(other_cameras(unknown)[2])


def test_a_camera_that_saw_a_performance_twice_leaves_nobody_sure():
    twice = table(*SEEN.tolist(), (-1, 2, 0, 4, 1))
    assert pairs(other_cameras(twice))[5:7] == [set(), set()]
    assert pairs(other_cameras(twice))[0] == {1, 4}


def test_other_cameras_against_loops():
    generator = np.random.default_rng(0)
    drawn = {tuple(row) for row in generator.integers(-1, 4, (400, 5)).tolist()}
    rows = table(*sorted(drawn, key=lambda row: hash(row)))
    literal = [
        {
            j
            for j, b in enumerate(rows)
            if min(a[f] for f in FIELDS[1:]) >= 0
            and b["camera"] not in (-1, a["camera"])
            and all(a[f] == b[f] for f in FIELDS[:4])
        }
        for a in rows
    ]
    assert pairs(other_cameras(rows)) == literal
    assert sum(map(len, literal)) > 50


def dataset(rows=SEEN):
    return SimpleNamespace(clips=rows, spec=SimpleNamespace(name="seen"))


def test_second_views_are_of_another_camera_and_first_ones_of_the_clip():
    found = performances_of(dataset(), np.arange(8), ASKED)
    assert found is not None
    assert found.clips == 5
    feed = Feed(clips(8), CPU, 24, performances=found)
    augment = load_experiment("demo").augment.model_copy(update={"min_frames": 12})
    met = set()
    for seed in range(20):
        views = feed.train_views(4, augment, torch.Generator().manual_seed(seed), count=2)
        for one, other in zip(views.index.tolist(), views.others[0].index.tolist(), strict=True):
            met.add((one, other))
        batch = feed.batch(views, 0)
        for view in (batch, *batch.others):
            assert len(view.joints) == len(view.clip)
            assert len(view.clips) == 4
    wanted = {(i, j) for i, seen in enumerate(pairs(other_cameras(SEEN))) for j in seen or {i}}
    assert met == wanted


def test_the_share_of_clips_that_are_seen_again():
    found = performances_of(dataset(), np.arange(8), ASKED.model_copy(update={"cameras": 0.3}))
    assert found is not None
    of = torch.zeros(20_000, dtype=torch.int64)
    seen = found.seen_again(of, torch.Generator().manual_seed(0))
    counts = torch.bincount(seen, minlength=5) / len(of)
    assert counts[0] == pytest.approx(0.7, abs=0.02)
    assert counts[1].item() == pytest.approx(0.15, abs=0.02)
    assert counts[4].item() == pytest.approx(0.15, abs=0.02)


def test_without_other_cameras_views_are_as_ever():
    augment = load_experiment("demo").augment.model_copy(update={"min_frames": 12})
    assert performances_of(dataset(SEEN[:1]), np.arange(1), ASKED) is None
    assert performances_of(dataset(), np.arange(8), AgreementConfig(contrast=0.1)) is None
    one, other = (
        Feed(clips(8), CPU, 24, performances=made).train_views(
            4, augment, torch.Generator().manual_seed(1), count=2
        )
        for made in (None, performances_of(dataset(), np.array([2, 3, 7]), ASKED))
    )
    assert torch.equal(one.first, other.first)


def test_where_no_clip_was_seen_twice_it_is_refused():
    alone = dataset(SEEN[[0, 2, 3]])
    with pytest.raises(UsageError, match="no training clip of seen was seen by another camera"):
        check_cameras(ASKED, [(alone, np.arange(3))])
    check_cameras(ASKED, [(alone, np.arange(3)), (dataset(), np.arange(8))])
    check_cameras(AgreementConfig(), [(alone, np.arange(3))])


def test_what_cannot_go_together_is_refused():
    for settings, reason in (
        (["agreement.contrast=0"], "needs agreement.contrast"),
        (["pretrain.batches=even"], "set it to drawn"),
    ):
        with pytest.raises(UsageError, match=reason):
            load_experiment("nw-ucla-agreement", ["agreement.cameras=0.5", *settings])


def test_it_decides_the_digest_where_it_is_asked_for():
    plain, zero, asked = (
        training_digest(load_experiment("nw-ucla-agreement", settings))
        for settings in ([], ["agreement.cameras=0"], ["agreement.cameras=0.5"])
    )
    assert plain == zero != asked
