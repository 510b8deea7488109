"""The clips of a dataset as a table that is searched, counted and sorted: 50,000 of them in milliseconds, so
that a browser can ask at every key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amr_data.errors import Record, UsageError, unknown
from amr_data.looking.columns import (
    B8,
    Choice,
    Classes,
    Column,
    Counts,
    Flags,
    Named,
    Number,
    Pending,
    Splits,
    Texts,
)
from amr_data.looking.decisions import EXCLUDE, KEEP, Decision
from amr_data.looking.faults import kinds_for
from amr_data.looking.inspection import SIDES
from amr_data.looking.searching import Term, parse_search
from amr_data.looking.units import length_unit
from amr_data.shards.reader import ShardDataset

I64 = npt.NDArray[np.int64]
REJECT = "reject"
ANY = "any"
NUMBERS = ("subject", "camera", "setup", "replication", "bodies")
SORTS = ("index", "name", "class", "frames", "energy", "severity")
UNDECIDED, NOTED = "undecided", "with a note"
RIGHT, WRONG, UNJUDGED = "right", "wrong", "not judged"
LOOKING = "faults are still being looked for"


@dataclass(frozen=True)
class Judged:
    """What a run took clips for. name : of the figure.  predicted : (N,) labels, -1 for a clip that was not
    judged."""

    name: str
    predicted: I64


@dataclass(frozen=True)
class Found:
    """clips : (K,) indices, sorted as was asked.  facets : by key, the clips of each value among those that
    all terms of other keys mean.  rejects : those that were asked for, in place of clips."""

    clips: I64
    facets: Mapping[str, Counts]
    rejects: Sequence[Record] | None = None


class ClipTable:
    """Columns by key. rejects : sources that did not become clips.  judged : of a run, by the figures' names;
    at least one column of each is there from the beginning, `faults` and maps may come later."""

    def __init__(
        self, dataset: ShardDataset, rejects: Sequence[Record] = (), judged: Sequence[Judged] = ()
    ) -> None:
        spec, clips = dataset.spec, dataset.clips
        self.size = len(dataset)
        self.rejects = rejects
        self.judged = {one.name: one for one in judged}
        self._reasons: Counts = Counter(reject.kind for reject in rejects).most_common()
        self._fault_kinds = kinds_for(dataset)
        labels = np.asarray(clips["label"], np.int64)
        self.labels = labels
        class_titles = [spec.class_title(label) for label in range(len(spec.classes))]
        titles = [*class_titles, "no label"] if (labels < 0).any() else class_titles
        codes = np.where(labels < 0, len(class_titles), labels)
        names = [*spec.class_names, "no label"][: len(titles)]
        self._classes, self._class_names = titles, names
        unit = length_unit(dataset)
        middle = len(dataset.windows) // 2
        frames = np.asarray(clips["frames"], np.float64)
        self.energy = np.sqrt(clips["mean_energy"][:, middle].astype(np.float64)) * unit.per
        self._names = dataset.names
        words = [titles[code].lower() for code in codes.tolist()]
        lowered = [f"{n.lower()}\n{w}" for n, w in zip(dataset.names, words, strict=True)]
        self.columns: dict[str, Column] = {
            "class": Classes("class", "class", titles, codes, names),
            "split": _splits(dataset),
            **{
                key: Number(key, key, np.asarray(clips[key], np.float64), listed=True)
                for key in NUMBERS
                if (clips[key] >= 0).any()
            },
            "fault": Pending("fault", LOOKING),
            "decision": Flags("decision", "decision", (), np.zeros((0, self.size), bool)),
            "frames": Number("frames", "frames", frames),
            "seconds": Number("seconds", "seconds", frames / spec.frame_rate),
            "energy": Number("energy", f"mean motion energy (root, {unit.fine})", self.energy),
            "still": Number("still", "share of still frames", np.asarray(clips["still_share"], np.float64)),
            "severity": Pending("severity", LOOKING),
            "": Texts("", "text", lowered),
        }
        self.set_decisions({})
        self._orders: dict[str, I64] = {}

    @property
    def keys(self) -> list[str]:
        """That a search may name."""
        judged = ["predicted", "judged"] if self.judged else []
        return [*(key for key in self.columns if key), *judged, *([REJECT] if self.rejects else [])]

    def set_faults(self, faults: Sequence[Record]) -> None:
        """Take in what `find_faults` found."""
        index = {name: i for i, name in enumerate(self._names)}
        kinds = [*self._fault_kinds, ANY]
        flags, severity = np.zeros((len(kinds), self.size), bool), np.zeros(self.size)
        for fault in faults:
            at = index[fault.where]
            flags[kinds.index(fault.kind), at] = flags[-1, at] = True
            severity[at] = max(severity[at], fault.severity or 0)
        self._orders.pop("severity", None)
        severities = Number("severity", "the worst fault, times its limit", severity)
        self.columns |= {"fault": Flags("fault", "fault", kinds, flags), "severity": severities}

    def set_decisions(self, decisions: Mapping[str, Decision]) -> None:
        """Take in what is decided about clips; entries about others are passed over."""
        flags = np.zeros((4, self.size), bool)
        for i, name in enumerate(self._names) if decisions else ():
            if one := decisions.get(name):
                flags[0, i], flags[1, i] = one.decision == KEEP, one.decision == EXCLUDE
                flags[3, i] = bool(one.note)
        flags[2] = ~(flags[0] | flags[1])
        self.columns["decision"] = Flags("decision", "decision", (KEEP, EXCLUDE, UNDECIDED, NOTED), flags)

    def find(self, search: str = "", sort: str = "index", by: str | None = None) -> Found:
        """Clips by a search, see `searching`, and the facets beside them.

        Args:
            sort: one of `SORTS`, with a minus before it the other way round.
            by: which figure of the run `predicted` and `judged` are of; the first by default.
        Raises: UsageError.
        """
        columns = {**self.columns, **self.columns_of(by)}
        terms = parse_search(search, self.keys)
        order = self._order(sort)
        of_key: dict[str, list[Term]] = {}
        for term in terms:
            of_key.setdefault(term.key, []).append(term)
        if REJECT in of_key:
            return self._rejected(of_key, columns)
        masks = {key: columns[key].chosen(mine) for key, mine in of_key.items()}
        every = _all(masks.values(), self.size)
        facets: dict[str, Counts] = {}
        for key, column in columns.items():
            others = [mask for other, mask in masks.items() if other != key]
            counts = column.counts(_all(others, self.size) if key in masks else every)
            if counts is not None:
                facets[key] = counts
        if self.rejects:
            facets[REJECT] = self._reasons
        return Found(order[every[order]], facets)

    def meant(self, term: Term, by: str | None = None) -> list[str]:
        """The values of a facet that a term means, as the facet has them: of `fault:jump` both jumps."""
        column = {**self.columns, **self.columns_of(by)}.get(term.key)
        if isinstance(column, Named) and term.sign == ":":
            return [column.values[i] for value in term.values for i in column.meant(value)]
        return list(term.values)

    def columns_of(self, by: str | None) -> dict[str, Column]:
        if not self.judged:
            return {}
        name = next(iter(self.judged)) if by is None else by
        if name not in self.judged:
            raise UsageError(unknown("figure", name, self.judged))
        predicted = self.judged[name].predicted
        outcome = np.where(predicted < 0, 2, (predicted != self.labels).astype(np.int64))
        return {
            "predicted": Classes("predicted", "class", self._classes, predicted, self._class_names),
            "judged": Choice("judged", "judgement", (RIGHT, WRONG, UNJUDGED), outcome),
        }

    def _rejected(self, of_key: Mapping[str, list[Term]], columns: Mapping[str, Column]) -> Found:
        other = next((key for key in of_key if key not in (REJECT, "")), None)
        if other is not None:
            raise UsageError(f"reject: shows sources that became no clip, so {other}: does not go with it")
        kinds = [kind for kind, _ in self._reasons]
        codes = np.array([kinds.index(reject.kind) for reject in self.rejects], np.int64)
        text = [f"{reject.where}\n{reject.detail}".lower() for reject in self.rejects]
        mine: tuple[Column, ...] = (Choice(REJECT, "reason", kinds, codes), Texts("", "text", text))
        if all(term.values == (ANY,) for term in of_key[REJECT]):
            of_key = {key: terms for key, terms in of_key.items() if key != REJECT}
        masks = [column.chosen(of_key[column.key]) for column in mine if column.key in of_key]
        chosen = np.flatnonzero(_all(masks, len(self.rejects)))
        nothing = np.zeros(self.size, bool)
        facets = {key: counts for key, c in columns.items() if (counts := c.counts(~nothing)) is not None}
        found = [self.rejects[i] for i in chosen.tolist()]
        return Found(np.zeros(0, np.int64), {**facets, REJECT: self._reasons}, found)

    def _order(self, sort: str) -> I64:
        key = sort.removeprefix("-")
        if key not in SORTS:
            raise UsageError(unknown("order", sort, SORTS))
        if key == "severity" and isinstance(self.columns["severity"], Pending):
            raise UsageError(f"sort by severity: {LOOKING}; ask again in a moment")
        if key not in self._orders:
            self._orders[key] = np.argsort(self._sorted_by(key), kind="stable")
        order = self._orders[key]
        return order[::-1] if sort.startswith("-") else order

    def _sorted_by(self, key: str) -> npt.NDArray[np.generic]:
        column = self.columns.get(key)
        if isinstance(column, Number):
            return column.numbers
        if key == "class":
            return self.labels
        if key == "name":
            ranked = sorted(range(self.size), key=self._names.__getitem__)
            ranks = np.empty(self.size, np.int64)
            ranks[ranked] = np.arange(self.size)
            return ranks
        return np.arange(self.size)


def _splits(dataset: ShardDataset) -> Splits:
    values: list[str] = []
    flags: list[B8] = []
    for name in dataset.spec.protocols:
        found = dataset.membership(name)
        for side, title in SIDES.items():
            if (found == side).any():
                values.append(f"{name}/{title}")
                flags.append(found == side)
    return Splits("split", "split", values, np.array(flags, bool).reshape(len(flags), len(dataset)))


def _all(masks: Iterable[B8], size: int) -> B8:
    found = np.ones(size, bool)
    for mask in masks:
        found &= mask
    return found
