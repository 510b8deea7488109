"""Batches in which clips of one person stand together, and what says whose they are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from amr_data import UsageError
from amr_train import load_experiment
from amr_train.config import AgreementConfig
from amr_train.data.batching import EvenBatches
from amr_train.data.feed import Feed
from amr_train.data.people import TOGETHER, by_person, nobody_known, people_of
from amr_train.identity import training_digest
from tests.amr_train.tracing import clips

ASKED = AgreementConfig(contrast=0.1, negatives="subject")
CPU = torch.device("cpu")


def dataset(*people):
    rows = np.array(list(people), [("setup", np.int32), ("subject", np.int32)])
    return SimpleNamespace(clips=rows, spec=SimpleNamespace(name="seen"))


def test_clips_of_one_person_follow_each_other_in_groups():
    generator = torch.Generator().manual_seed(0)
    people = torch.tensor([4] * 40 + [7] * 5 + [-1] * 16)[torch.randperm(61, generator=generator)]
    order = torch.randperm(61, generator=generator)
    found = by_person(order, people, generator)
    assert sorted(found.tolist()) == list(range(61))
    groups, who = [], people[found].tolist()
    for place, person in enumerate(who):
        if not place or who[place - 1] != person:
            groups.append((person, 0))
        groups[-1] = (person, groups[-1][1] + 1)
    assert sum(n for person, n in groups if person == 7) == 5
    assert [n for person, n in groups if person == -1] == [TOGETHER]
    assert all(
        n in (TOGETHER, 2 * TOGETHER, 40 % TOGETHER, 40 % TOGETHER + TOGETHER, 40)
        for p, n in groups
        if p == 4
    )
    for person in (7, -1):  # of one group, in the order of chance
        mine = people == person
        assert [i for i in order.tolist() if mine[i]] == [i for i in found.tolist() if mine[i]]


def test_groups_stand_elsewhere_in_every_epoch():
    people, generator = torch.arange(5).repeat_interleave(TOGETHER), torch.Generator().manual_seed(0)
    orders = {
        tuple(people[by_person(torch.arange(len(people)), people, generator)][::TOGETHER].tolist())
        for _ in range(40)
    }
    assert len(orders) > 20


def test_even_batches_keep_groups_together():
    people = torch.arange(4).repeat_interleave(TOGETHER)
    for counts in (torch.ones(64), torch.tensor([1, 2]).repeat(32)):
        even = EvenBatches(counts.long(), TOGETHER)
        for seed in range(5):
            found = even.draw(torch.Generator().manual_seed(seed), people)
            assert sorted(found.tolist()) == list(range(64))
            batches = found.view(4, TOGETHER)
            assert sorted(map(tuple, counts[batches].tolist())) == sorted(map(tuple, even.bodies.tolist()))
            met = [len(batch.unique()) for batch in people[batches]]
            assert max(met) <= 2 * len(counts.unique())
            if len(counts.unique()) == 1:
                assert met == [1] * 4


def test_batches_say_whose_their_clips_are():
    augment = load_experiment("demo").augment.model_copy(update={"min_frames": 12})
    people = torch.tensor([5, 5, 6, 6, 5, 6, 5, 6])
    feed = Feed(clips(8), CPU, 24, people=people)
    views = feed.train_views(4, augment, torch.Generator().manual_seed(0), count=2)
    for batch in feed.batches(views):
        assert batch.people is not None
        assert batch.people.tolist() == people[batch.clips].tolist()
        assert len(set(batch.people.tolist())) == 1  # four of each
    assert next(iter(Feed(clips(8), CPU, 24).batches(views))).people is None


def test_people_are_subjects_and_asked_for():
    seen = dataset((-1, 3), (-1, -1), (2, 3), (-1, 3), (2, -1))
    found = people_of(seen, np.array([3, 2, 0, 1, 4]), ASKED).tolist()
    assert found[0] == found[2]
    assert len(set(found)) == 4
    assert people_of(seen, np.arange(1), AgreementConfig(contrast=0.1)) is None


def test_where_nobody_is_known_a_line_says_so():
    unknown = dataset((-1, -1), (-1, -1)), np.arange(2)
    known = dataset((-1, -1), (-1, 4), (-1, 4)), np.arange(3)
    (line,) = nobody_known(ASKED, [unknown, known])
    assert line.startswith("agreement.negatives=subject: the training clips of seen name no subjects, or one")
    assert nobody_known(ASKED, [(known[0], np.array([1]))])  # one person trains
    assert not nobody_known(AgreementConfig(), [unknown])


def test_where_nobody_has_two_clips_a_line_says_that_nothing_is_told_apart():
    seen = dataset((1, 3), (2, 3), (1, 4), (1, 3)), np.arange(4)
    assert not nobody_known(ASKED, [seen])
    (line,) = nobody_known(ASKED, [(seen[0], np.arange(3))])
    assert "no two training clips of seen are of one person in one setup" in line


def test_what_cannot_go_together_is_refused():
    with pytest.raises(UsageError, match=r"agreement\.negatives says what the contrast compares"):
        load_experiment("nw-ucla-amr", ["agreement.negatives=subject"])
    alone = ["agreement.negatives=subject", "agreement.contrast=0", "agreement.teacher=0.1"]
    with pytest.raises(UsageError, match=r"contrast above 0, or agreement\.negatives=all"):
        load_experiment("nw-ucla-agreement", alone)
    assert load_experiment("nw-ucla-agreement", [*alone, "agreement.negatives=all"]).agreement.teacher


def test_it_decides_the_digest():
    every, subject = (
        training_digest(load_experiment("nw-ucla-agreement", [f"agreement.negatives={which}"]))
        for which in ("all", "subject")
    )
    assert every != subject
