"""What `amr-data serve` knows of a dataset, apart from HTTP: the table of its clips, what is found out about
them meanwhile, and what people decide."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import AmrError, Record, UsageError, unknown
from amr_data.looking.clip_table import ClipTable, Found, Judged
from amr_data.looking.columns import Choice, Number, Pending, Places
from amr_data.looking.decisions import (
    DECISIONS,
    EXCLUDE,
    KEEP,
    Decision,
    decide,
    decisions_file,
    decisions_text,
    read_decisions,
)
from amr_data.looking.faults import find_faults
from amr_data.looking.inspection import SIDES, clip_facts, dataset_summary
from amr_data.looking.maps import MOST_TSNE, map_features, neighbours, placed, principal
from amr_data.looking.searching import parse_search
from amr_data.looking.words import clip_rows, fault_in_words, summary_charts, summary_rows
from amr_data.shards.reader import ShardDataset, read_rejects
from amr_data.specs import NO_LABEL

KEPT = 8
"""Searches whose result is remembered while its rows are fetched."""
TOP_FAULTS = 10
MOST_REJECTS = 500
"""Rejects in one answer."""
MAPS = {"tsne": "t-SNE", "pca": "principal components"}


class Workbench:
    """A dataset as it is looked at. The table is made at once, faults and the better map while one looks.

    Args:
        features: a file of `amr-train embed`, which maps are made of.
        judged: what a run took the clips for.  run: what it is called.
        decisions: the list, that beside the dataset by default; no file is written before the first decision.
    Raises: UsageError where the features or the list are not of this dataset.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        features: str | Path | None = None,
        judged: Sequence[Judged] = (),
        run: str = "",
        decisions: str | Path | None = None,
    ) -> None:
        self.dataset, self.run = dataset, run
        self.table = ClipTable(dataset, read_rejects(dataset.path), judged)
        self.list = Path(decisions) if decisions else decisions_file(dataset.path)
        self.index = {name: i for i, name in enumerate(dataset.names)}
        self.faults: list[Record] | None = None
        self.at_work: dict[str, tuple[int, int]] = {}
        """By what is done, steps done and in all."""
        self.trouble: list[str] = []
        self._of_clip: dict[str, list[Record]] = {}
        self._lock, self._deciding = threading.Lock(), threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str | None, int], Found] = OrderedDict()
        self._version = 0
        self._summary = dataset_summary(dataset)
        self._take_decisions(read_decisions(self.list) if self.list.exists() else {})
        self._features: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None = None
        if features is not None:
            self._features = map_features(features, dataset)
            self._add_map("pca", principal(self._features[1]))
            if len(self._features[0]) > MOST_TSNE:
                self._features = None  # they take more memory than all else

    def start(self) -> threading.Thread:
        """Look for what takes longer, beside whatever else is asked for."""
        self.at_work["faults"] = (0, len(self.dataset.manifest["shards"]))
        if self._features is not None:
            self.at_work["map"] = (0, 1)
        worker = threading.Thread(target=self.work, daemon=True)
        worker.start()
        return worker

    def work(self) -> None:
        """Find the faults, then make the better map."""
        self._doing("faults", self._find_faults)
        if self._features is not None:
            self._doing("map", self._make_map)
        self._features = None

    def _doing(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (
            AmrError,
            ArithmeticError,
            MemoryError,
            ValueError,
        ) as error:  # told, or it seems at work forever
            self.trouble.append(f"{what}: {error}")
        self.at_work.pop(what, None)
        self._version += 1

    def _find_faults(self) -> None:
        def told(done: int, total: int) -> None:
            self.at_work["faults"] = (done, total)

        faults = find_faults(self.dataset, progress=told)
        for fault in faults:
            self._of_clip.setdefault(fault.where, []).append(fault)
        self.table.set_faults(faults)
        self.faults = faults

    def _make_map(self) -> None:
        assert self._features is not None
        points = neighbours(self._features[1])
        if points is not None:
            self._add_map("tsne", points)

    def _add_map(self, key: str, points: npt.NDArray[np.float32]) -> None:
        assert self._features is not None
        places = placed(points, self._features[0], len(self.dataset))
        self.table.columns = {**self.table.columns, key: Places(key, MAPS[key], places)}

    # --- what is found --------------------------------------------------------------------------------------

    def find(self, search: str, sort: str, by: str | None) -> Found:
        """`ClipTable.find`, remembered until something changes."""
        key = (search, sort, by, self._version)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self.table.find(search, sort, by)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def searched(self, search: str, sort: str, by: str | None) -> dict[str, Any]:
        """A search for the page: how many clips, the facets, which clips as bits, and rejects."""
        found = self.find(search, sort, by)
        some = np.zeros(len(self.dataset), bool)
        some[found.clips] = True
        rejects = None if found.rejects is None else [r.as_stored() for r in found.rejects[:MOST_REJECTS]]
        return {
            "terms": [
                {**asdict(term), "meant": self.table.meant(term, by)}
                for term in parse_search(search, self.table.keys)
            ],
            "total": len(found.clips) if found.rejects is None else len(found.rejects),
            "facets": {key: [pair for pair in counts if pair[1]] for key, counts in found.facets.items()},
            "bits": base64.b64encode(np.packbits(some, bitorder="little").tobytes()).decode("ascii"),
            "rejects": rejects,
            "at_work": dict(self.at_work),
            "trouble": self.trouble,
            "version": self._version,
        }

    def rows(self, search: str, sort: str, by: str | None, start: int, count: int) -> list[dict[str, Any]]:
        """A part of what was found, for the grid."""
        return [self.row(i, by) for i in self.find(search, sort, by).clips[start : start + count].tolist()]

    def row(self, index: int, by: str | None) -> dict[str, Any]:
        """A clip in the grid."""
        name = self.dataset.names[index]
        decision = self.decisions.get(name, Decision(name))
        faults = self._of_clip.get(name, ())
        return {
            "index": index,
            "name": name,
            "class": self._class(int(self.table.labels[index])),
            "frames": int(self.dataset.clips["frames"][index]),
            "faults": [fault.kind for fault in faults],
            "decision": decision.decision,
            "noted": bool(decision.note),
            **self._judged(index, by),
        }

    def _judged(self, index: int, by: str | None) -> dict[str, Any]:
        if not self.table.judged:
            return {}
        one = self.table.judged[by] if by in self.table.judged else next(iter(self.table.judged.values()))
        label = int(one.predicted[index])
        return {
            "predicted": self._class(label) if label >= 0 else None,
            "right": label == int(self.table.labels[index]),
        }

    def _class(self, label: int) -> str:
        return self.dataset.spec.class_title(label)

    def place(self, search: str, sort: str, by: str | None, index: int) -> int | None:
        """Where a clip stands in what was found, None where it does not."""
        at = np.flatnonzero(self.find(search, sort, by).clips == index)
        return int(at[0]) if len(at) else None

    # --- one clip -------------------------------------------------------------------------------------------

    def clip(self, name: str, search: str, sort: str, by: str | None) -> dict[str, Any]:
        """All that is known of a clip, for the panel. Raises: UsageError for a clip that there is not."""
        if name not in self.index:
            raise UsageError(unknown("clip", name, self.dataset.names))
        index = self.index[name]
        facts = clip_facts(self.dataset, index)
        decision = self.decisions.get(name, Decision(name))
        try:
            place = self.place(search, sort, by, index)
        except UsageError:  # the search itself is told by its own answer
            place = None
        found = None if place is None else self.find(search, sort, by).clips
        near = [] if found is None or place is None else [place - 1, place + 1]
        beside = [
            self.dataset.names[found[i]] if found is not None and 0 <= i < len(found) else None for i in near
        ]
        taken = {
            title: self._class(int(one.predicted[index])) if one.predicted[index] >= 0 else None
            for title, one in self.table.judged.items()
        }
        return {
            **self.row(index, by),
            "rows": clip_rows(facts),
            "rate": self.dataset.spec.frame_rate,
            "recipe": {key: str(value) for key, value in self.dataset.manifest["recipe"].items()},
            "cleaning": facts["dropped"],
            "scale": self.dataset.clip(index).scale,
            "found": [
                {"kind": f.kind, "words": fault_in_words(f), "severity": f.severity, "frame": f.frame}
                for f in self._of_clip.get(name, ())
            ],
            "note": decision.note,
            "taken": taken,
            "place": place,
            "before": beside[0] if beside else None,
            "after": beside[1] if beside else None,
        }

    # --- all of it ------------------------------------------------------------------------------------------

    def page(self) -> dict[str, Any]:
        """What the page is told once: how bodies are drawn, and what there is to look at."""
        skeleton = self.dataset.spec.skeleton
        side = {joint: part.split("_")[0] for part, joints in skeleton.parts.items() for joint in joints}
        sides = ["left", "right"]
        bones = [sides.index(side[j]) + 1 if side[j] in sides else 0 for j, _ in skeleton.bones]
        return {
            "title": self.dataset.title,
            "path": str(self.dataset.path),
            "clips": len(self.dataset),
            "synthetic": self.dataset.synthetic,
            "joints": len(skeleton.joints),
            "bones": skeleton.bone_indices.tolist(),
            "sides": bones,
            "figures": list(self.table.judged),
            "run": self.run,
            "list": str(self.list),
            "maps": list(self.maps),
            "classes": [self._class(label) for label in range(len(self.dataset.spec.classes))],
        }

    def overview(self) -> dict[str, Any]:
        """Facts, charts and the worst faults."""
        labels = np.where(self.table.labels < 0, len(self.dataset.spec.classes), self.table.labels)
        spec = self.dataset.spec
        seen = np.unique(labels).tolist()
        by_split: dict[str, Any] = {}
        for name in spec.protocols:
            found = self.dataset.membership(name)
            sides = [(side, title) for side, title in SIDES.items() if (found == side).any()]
            counts = [
                np.bincount(labels[found == side], minlength=len(spec.classes) + 1) for side, _ in sides
            ]
            by_split[name] = {
                title: [int(c[k]) for k in seen] for (_, title), c in zip(sides, counts, strict=True)
            }
        faults = None if self.faults is None else [self._fault(f) for f in self.faults[:TOP_FAULTS]]
        return {
            "facts": summary_rows(self._summary),
            "charts": summary_charts(self._summary),
            "lengths": self._summary["lengths"],
            "classes": [self._class(k) if k < len(spec.classes) else self._class(NO_LABEL) for k in seen],
            "splits": by_split,
            "rejects": self._summary["rejects_by_reason"],
            "faults": faults,
            "doubtful": len(self._of_clip) if self.faults is not None else None,
            "at_work": dict(self.at_work),
            "version": self._version,
        }

    def _fault(self, fault: Record) -> dict[str, Any]:
        about = {"clip": fault.where, "kind": fault.kind, "severity": fault.severity, "frame": fault.frame}
        return {**about, "words": fault_in_words(fault)}

    def map(self, key: str) -> bytes:
        """(N, 2) float32 places, then (N,) uint16 classes. Raises: UsageError where there is no such map."""
        column = self.table.columns.get(key)
        if not isinstance(column, Places):
            raise UsageError(unknown("map", key, self.maps))
        return column.places.astype("<f4").tobytes() + self.table.labels.astype("<u2").tobytes()

    @property
    def maps(self) -> dict[str, str]:
        return {key: title for key, title in MAPS.items() if key in self.table.columns}

    def values(self, key: str, by: str | None) -> bytes:
        """(N,) int16, by which the map is coloured: places in a column's values, or numbers in a hundred
        steps."""
        columns = {**self.table.columns, **self.table.columns_of(by)}
        column = columns.get(key)
        if isinstance(column, Choice):
            return column.codes.astype("<i2").tobytes()
        if isinstance(column, Number):
            top = max(float(np.nanquantile(column.numbers, 0.99)), 1e-9) if len(column.numbers) else 1.0
            return np.clip(np.nan_to_num(column.numbers / top) * 100, 0, 100).astype("<i2").tobytes()
        if column is None or isinstance(column, Pending):
            raise UsageError(f"there is no {key} to colour by yet")
        raise UsageError(f"{key} gives no colours")

    # --- decisions ------------------------------------------------------------------------------------------

    def decide(self, name: str, decision: str | None = None, note: str | None = None) -> Decision:
        """Change a clip's decision, its note or both; None leaves one as it is. Returns what holds now.
        Raises: UsageError, WriteError; the list is as it was then."""
        if name not in self.index:
            raise UsageError(unknown("clip", name, self.dataset.names))
        if decision is not None and decision not in DECISIONS:
            raise UsageError(f"the decision '{decision[:40]}' is neither {KEEP} nor {EXCLUDE}")
        with self._deciding:  # one after the other, so that what is shown is what was written last
            self._take_decisions(decide(self.list, name, decision, note))
            self._version += 1
            return self.decisions.get(name, Decision(name))

    def _take_decisions(self, found: dict[str, Decision]) -> None:
        self.decisions = found
        self.table.set_decisions(found)

    @property
    def strangers(self) -> list[str]:
        """Clips in the list that the dataset does not have."""
        return [name for name in self.decisions if name not in self.index]

    def exported(self) -> str:
        """The list as it is now: others may have written to it. Raises: UsageError where it is none any
        more."""
        with self._deciding:
            self._take_decisions(read_decisions(self.list) if self.list.exists() else {})
            self._version += 1
            return decisions_text(self.decisions)
