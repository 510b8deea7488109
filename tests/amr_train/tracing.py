"""A process in which a second device exists that holds shapes and no values: what runs there without an error
never mixes devices and never needs a value on the host.

torch's FakeTensorMode finds reads of values (`item`, `bool`, `nonzero`) and operations on tensors of two
devices; the watch here finds copies from the host, of which only planned ones are allowed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

import amr_train.data.feed
from amr_data import SplitArrays
from amr_train import load_experiment
from amr_train.config import Experiment
from amr_train.data.feed import Feed
from amr_train.data.mixing import MixedFeed
from amr_train.data.views import Body, Changes
from amr_train.evaluation.features import JOINTS, MEAN, Features, encode
from amr_train.evaluation.finetuning import Classifier, Setting, _step, classify, layer_groups
from amr_train.evaluation.protocols.knn import votes
from amr_train.evaluation.protocols.linear import LinearProbe
from amr_train.evaluation.protocols.retrieval import precisions
from amr_train.models.method import Method
from amr_train.models.registry import make_method
from amr_train.parallel.processes import Processes
from amr_train.training.divergence import LossWatch
from amr_train.training.loop import prepare, train_step
from amr_train.training.optimizers import make_optimizer

METHODS = ("amr", "amr-no-focal", "amr-self-attention", "subset", "pooled", "mae", "mamp", "agreement")
SETTINGS = [
    "model.frames=24",
    "model.width=16",
    "model.heads=2",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "augment.min_frames=12",
    "evaluation.finetune.hidden=16",
    "evaluation.finetune.batch_size=8",
    "pretrain.batch_size=8",
    "precision=float32",  # there are no kernels for autocast on this device
]
COMPACT = ["model.registers=2", "model.time=rotary"]
TAUGHT = ["agreement.teacher=0.5", "agreement.layers=1"]
CHANGED = [f"augment.{key}=0.2" for key in ("turn", "mirror", "limbs", "scale", "noise", "bias", "drop_axis")]
CHANGED.append("pretrain.optimizer=muon")
JOINTS_OF = 5
CLASSES = 3


class Backend(_DummyBackendModule):  # type: ignore[misc]
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return []


class Copied(Exception):
    """Values came from the host in the middle of a loop."""


class Watch(TorchDispatchMode):
    """Refuses copies between host and device, and operations on tensors of both, that were not pinned."""

    def __init__(self) -> None:
        super().__init__()
        self.pinned: set[int] = set()
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = [t for t in _pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        host = [t for t in given if t.device.type == "cpu" and t.ndim]
        made = [t for t in _pytree.tree_leaves(found) if isinstance(t, Tensor)]
        away = [t for t in (*given, *made) if t.device.type != "cpu"]
        back = [t for t in made if t.device.type == "cpu"] if away else []
        if (host and away) or back:
            if func.overloadpacket is torch.ops.aten._to_copy and all(id(t) in self.pinned for t in host):
                self.copies += 1
                return found
            raise Copied(f"{func} takes {[t.device.type for t in given]}")
        return found

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Watch what is done within; gives the number of planned copies."""
        before = self.copies
        with self:
            yield lambda: self.copies - before

    def pin(self, tensor: Tensor) -> Tensor:
        pinned = tensor.clone()
        self.pinned.add(id(pinned))
        self.kept = [*getattr(self, "kept", []), pinned]  # so that no other tensor gets its id
        return pinned


def clips(count: int = 16) -> SplitArrays:
    """One body in most clips, two in every third; the second one comes later."""
    rng = np.random.default_rng(0)
    bodies = np.where(np.arange(count) % 3 == 0, 2, 1)
    clip = np.repeat(np.arange(count), bodies)
    first = np.concatenate([[True], np.diff(clip) > 0])
    rows = np.where(first, 40, 30)
    frame = np.concatenate([np.arange(40 - n, 40) for n in rows])
    joints = rng.normal(size=(int(rows.sum()), JOINTS_OF, 3)).astype(np.float32)
    energy = np.ones((len(joints), JOINTS_OF, 3), np.float32)
    labels = np.arange(count) % CLASSES
    names = [f"c{i}" for i in range(count)]
    where = (frame, np.cumsum(rows) - rows, rows, clip, labels, names, np.full(count, 40))
    return SplitArrays(joints, energy, *where)


@contextmanager
def elsewhere() -> Iterator[tuple[torch.device, Watch, Callable[..., Feed]]]:
    """The device, the watch over it, and a feed for it. Epochs are planned on the host, where values are."""
    device, watch, mode = torch.device("elsewhere", 0), Watch(), FakeTensorMode(allow_non_fake_inputs=True)
    sent = amr_train.data.feed.sent

    def shapes(tensor: Tensor) -> Tensor:
        return tensor if isinstance(tensor, FakeTensor) else mode.from_tensor(tensor)

    def sent_there(tensor: Tensor, where: torch.device) -> Tensor:
        if where.type == "cpu":
            return sent(tensor, where)
        with mode:
            return sent(shapes(tensor), where)

    def planned(views: Callable[..., Any]) -> Callable[..., Any]:
        def plan(*arguments: Any, **named: Any) -> Any:
            with unset_fake_temporarily():
                return views(*arguments, **named)

        return plan

    def feed_of(arrays: SplitArrays, energy: bool, resident: str, changes: Changes | None = None) -> Feed:
        with unset_fake_temporarily():
            feed = Feed(arrays, torch.device("cpu"), 24, energy, changes=changes)
        feed.device = device
        if feed.changes is not None:
            tables = feed.changes._tables
            feed.changes._tables = {name: shapes(table).to(device) for name, table in tables.items()}
        names = ["labels"]
        if resident == "device":
            feed.home, names = device, [*names, "joints", "energy", "_row", "_present"]
        for name in names:
            value = getattr(feed, name)
            setattr(feed, name, None if value is None else shapes(value).to(device))
        return feed

    with ExitStack() as stack:
        for change in (
            mock.patch.object(Tensor, "pin_memory", lambda tensor: watch.pin(tensor)),
            mock.patch("amr_train.data.feed.sent", sent_there),
            mock.patch("amr_train.training.loop.chance_on", return_value=torch.Generator()),
            mock.patch("amr_train.data.views.chance_on", return_value=torch.Generator()),
            mock.patch.object(Feed, "train_views", planned(Feed.train_views)),
            mock.patch.object(Feed, "centre_views", planned(Feed.centre_views)),
            mock.patch.object(nn.Module, "to", placed),
            mock.patch("torch.nn.init.trunc_normal_", lambda tensor, **settings: tensor),
            mode,
        ):
            stack.enter_context(change)
        yield device, watch, feed_of


def placed(module: nn.Module, device: torch.device) -> nn.Module:
    """`module.to(device)`, which cannot exchange tensors that have no values."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            shape = torch.empty(value.shape, dtype=value.dtype, device=device)
            setattr(part, name, nn.Parameter(shape, value.requires_grad))
        for name, value in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(value.shape, dtype=value.dtype, device=device))
    return module


def trained_copies(
    model: Method, experiment: Experiment, batches: Iterator[Any], watch: Watch, every: int
) -> int:
    """Planned copies of the training steps on these batches."""
    device = next(model.parameters()).device
    optimizer = make_optimizer(model, experiment.pretrain)
    trained = prepare(model, experiment, Processes(), device)
    losses = LossWatch(device, every)
    with watch.counting() as counts:
        for step, batch in enumerate(batches):
            losses.add(step + 1, *train_step(trained, batch, optimizer, experiment, step, Processes()))
    return counts()


def trace(
    method: str, resident: str, settings: Sequence[str] = (), body: Body | None = None
) -> dict[str, int]:
    """Run everything of a method for a few steps. Returns how many planned copies each part made. `body` : of
    the views, where these are changed in every way."""
    source = "shard" if body is None else "online"
    changed = [] if body is None else CHANGED
    chosen = [*SETTINGS, f"guidance.source={source}", *changed, *settings]
    experiment = load_experiment(f"ntu60-xsub-{method}", chosen)
    with elsewhere() as (device, watch, feed_of):
        model = make_method(experiment, JOINTS_OF, (4, 8, 12)).to(device)
        with unset_fake_temporarily():
            changes = None if body is None else Changes(experiment.augment, body)
        feed = feed_of(clips(), model.needs_energy, resident, changes)
        assert feed._present is not None
        with unset_fake_temporarily():
            chance = torch.Generator().manual_seed(0)
        views = feed.train_views(8, experiment.augment, chance, count=model.views)
        found = {"training": trained_copies(model, experiment, feed.batches(views), watch, 3)}
        if body is not None:  # evaluations change nothing
            return found
        return found | evaluated(experiment, model.encoder, feed, watch)


def trace_mixed() -> dict[str, int]:
    """A few steps of two skeletons at once, whose joints are told by name. Returns how many planned copies
    they made."""
    named = ["guidance.source=shard", "model.joints=name", "model.names=[hip, neck]"]
    experiment = load_experiment("ntu60-xsub-amr", [*SETTINGS, *named])
    with elsewhere() as (device, watch, feed_of):
        with unset_fake_temporarily():
            chance, arrays = torch.Generator().manual_seed(0), clips()
            fewer = replace(arrays, joints=arrays.joints[:, :3], energy=arrays.energy[:, :3])
        model = make_method(experiment, JOINTS_OF, (4, 8, 12)).to(device)
        feeds = {"a": feed_of(arrays, True, "device"), "b": feed_of(fewer, True, "device")}
        for feed, joints in zip(feeds.values(), (5, 3), strict=True):
            feed.naming = torch.empty(joints, 2, device=device)
        mixed = MixedFeed(feeds, 0.5)
        with unset_fake_temporarily():
            views = mixed.train_views(8, experiment.augment, chance)
        return {"training": trained_copies(model, experiment, mixed.batches(views), watch, 4)}


def evaluated(experiment: Experiment, encoder: Any, feed: Feed, watch: Watch) -> dict[str, int]:
    found, evaluation = {}, experiment.evaluation
    views = feed.centre_views(8, 0.95)
    with watch.counting() as counts:
        kept = encode(encoder, feed, views)
    found["features"] = counts()
    setting = Setting(evaluation.finetune, experiment.augment)
    model = Classifier(encoder, CLASSES, evaluation.finetune).to(feed.device).train()
    model.normed_over(8)
    optimizer = torch.optim.AdamW(layer_groups(model, evaluation.finetune), fused=True)
    with unset_fake_temporarily():
        chance = torch.Generator().manual_seed(0)
    views = feed.train_views(8, experiment.augment, chance)
    with watch.counting() as counts:
        for batch in feed.batches(views):
            _step(model, batch, feed.labels, optimizer, setting, 8)
    found["fine-tuning"] = counts()
    with watch.counting() as counts:
        classify(model.eval(), feed, 8, 0.95, setting)
    found["classification"] = counts()
    features = Features(kept, feed.labels, kept, feed.labels, CLASSES)
    probe = LinearProbe(features, JOINTS, evaluation.linear, 0)
    with watch.counting() as counts:
        probe.epoch(kept[JOINTS])
        votes(features, MEAN, 1)
        precisions(features, MEAN)
    found["probes"] = counts()
    return found


def caught() -> list[str]:
    """What the watch says of a value that is read, of two devices, of a copy that was not planned, and of an
    index on the host."""
    said = []
    with elsewhere() as (device, watch, _):
        there, here = torch.zeros(3, device=device), torch.zeros(3)
        for wrong in (
            lambda: float(there.sum()),
            lambda: there[there > 0],
            lambda: there + here,
            lambda: here.to(device),
            lambda: there[torch.zeros(2, dtype=torch.int64)],
        ):
            try:
                with watch:
                    wrong()
            except Exception as error:
                said.append(type(error).__name__)
    return said


if __name__ == "__main__":
    _setup_privateuseone_for_python_backend("elsewhere", Backend())
    found = {f"{method} device": trace(method, "device") for method in METHODS}
    found["compact device"] = trace("amr", "device", COMPACT)
    found["taught device"] = trace("agreement", "device", TAUGHT)
    body = Body(parent=(0, 0, 1, 1, 0), mirror=(0, 1, 3, 2, 4), up=1, bones=True)
    found |= {f"changed {where}": trace("amr", where, body=body) for where in ("device", "host")}
    found["mixed device"] = trace_mixed()
    json.dump({"caught": caught(), "amr host": trace("amr", "host"), **found}, sys.stdout)
