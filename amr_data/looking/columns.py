"""What clips can be found and counted by: a column of a dataset's clips each, which answers which clips a
term of a search means, and how many of a selection have each of its values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from amr_data.errors import UsageError, unknown
from amr_data.looking.searching import ORDERED, Term, number_of

B8 = npt.NDArray[np.bool_]
Counts = list[tuple[str, int]]
COMPARED = {"<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, ":": np.equal}


class Column(ABC):
    """`key` : in a search.  `title` : for people."""

    key: str
    title: str

    @abstractmethod
    def mask(self, term: Term, value: str) -> B8:
        """(N,) the clips that one value of a term means, whether the term is negated or not. Raises:
        UsageError for a value that there is not."""

    def counts(self, selection: B8) -> Counts | None:
        """How many clips of a selection (N,) have each value, as it may be searched for; None for a column
        that is no facet."""
        return None

    def chosen(self, terms: Sequence[Term]) -> B8:
        """(N,) the clips that all terms of this key mean together: any of those that name a value, and all
        that compare or exclude. Raises: UsageError."""
        named: B8 | None = None
        others: B8 | None = None
        for term in terms:
            mask = self._any(term)
            if term.negated or term.sign in ORDERED:
                mask = ~mask if term.negated else mask
                others = mask if others is None else others & mask
            else:
                named = mask if named is None else named | mask
        if named is None or others is None:
            found = others if named is None else named
            assert found is not None
            return found
        return named & others

    def _any(self, term: Term) -> B8:
        found = self.mask(term, term.values[0])
        for value in term.values[1:]:
            found = found | self.mask(term, value)
        return found


class Named(Column):
    """Values that have names, of which a clip has none, one or several."""

    values: Sequence[str]

    @abstractmethod
    def having(self, value: int) -> B8:
        """(N,) the clips that have a value."""

    def meant(self, text: str) -> list[int]:
        """The values that a text means: that of just this name, or all that it is a part of."""
        exact = [i for i, value in enumerate(self.values) if value.casefold() == text.casefold()]
        return exact or [i for i, value in enumerate(self.values) if text.casefold() in value.casefold()]

    def mask(self, term: Term, value: str) -> B8:
        if term.sign in ORDERED:
            raise UsageError(f"{term.shown}: {self.title} is no number; {self.key}: is what there is")
        meant = self.meant(value)
        if not meant:
            raise UsageError(unknown(self.title, value, self.values))
        found = self.having(meant[0])
        for other in meant[1:]:
            found = found | self.having(other)
        return found


@dataclass
class Choice(Named):
    """At most one value a clip. codes : (N,) places in `values`, -1 for none."""

    key: str
    title: str
    values: Sequence[str]
    codes: npt.NDArray[np.int64]

    def having(self, value: int) -> B8:
        return np.asarray(self.codes == value)

    def counts(self, selection: B8) -> Counts:
        codes = self.codes[selection]
        found = np.bincount(codes[codes >= 0], minlength=len(self.values)).tolist()
        return list(zip(self.values, found, strict=True))


@dataclass
class Classes(Choice):
    """Classes by their number and name, by either alone. names : as they are without the number."""

    names: Sequence[str] = ()

    def meant(self, text: str) -> list[int]:
        exact = [i for i, name in enumerate(self.names) if name.casefold() == text.casefold()]
        numbered = [
            i for i, value in enumerate(self.values) if text.isdigit() and value.split(" ")[0] == text
        ]
        return exact or numbered or super().meant(text)


@dataclass
class Flags(Named):
    """Several values a clip. flags : (K, N), a row a value."""

    key: str
    title: str
    values: Sequence[str]
    flags: B8

    def having(self, value: int) -> B8:
        return np.asarray(self.flags[value])

    def counts(self, selection: B8) -> Counts:
        found = np.count_nonzero(self.flags & selection, axis=1).tolist()
        return list(zip(self.values, found, strict=True))


class Splits(Flags):
    """`xsub/test`; of a dataset with one split also `test` alone."""

    def meant(self, text: str) -> list[int]:
        folded = [value.casefold() for value in self.values]
        if text.casefold() in folded:
            return [folded.index(text.casefold())]
        sides = [i for i, value in enumerate(folded) if value.rpartition("/")[2] == text.casefold()]
        if len(sides) > 1:
            meant = ", ".join(self.values[i] for i in sides)
            raise UsageError(f"split:{text} could be any of {meant}; say which")
        return sides


@dataclass
class Number(Column):
    """numbers : (N,), NaN where it is not known; below 0 where the dataset has none.  listed : whether it is
    a facet."""

    key: str
    title: str
    numbers: npt.NDArray[np.float64]
    listed: bool = False
    _distinct: npt.NDArray[np.float64] = field(init=False, repr=False)
    _codes: npt.NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = self.numbers if self.listed else self.numbers[:0]
        self._distinct, self._codes = np.unique(values, return_inverse=True)

    def mask(self, term: Term, value: str) -> B8:
        return np.asarray(COMPARED[term.sign](self.numbers, number_of(term, value)))

    def counts(self, selection: B8) -> Counts | None:
        if not self.listed:
            return None
        found = np.bincount(self._codes[selection], minlength=len(self._distinct)).tolist()
        return [(f"{v:g}", n) for v, n in zip(self._distinct.tolist(), found, strict=True) if v >= 0]


@dataclass
class Texts(Column):
    """Free text in what is known of a clip in words. lowered : (N,) in lower case."""

    key: str
    title: str
    lowered: Sequence[str]

    def mask(self, term: Term, value: str) -> B8:
        text = value.lower()
        return np.fromiter((text in words for words in self.lowered), bool, len(self.lowered))

    def chosen(self, terms: Sequence[Term]) -> B8:
        """All of the words."""
        found = np.ones(len(self.lowered), bool)
        for term in terms:
            mask = self._any(term)
            found &= ~mask if term.negated else mask
        return found


@dataclass
class Places(Column):
    """Places (N, 2) of clips on a map, from 0 to 1, NaN for a clip that is not on it. A term names a
    rectangle's corners, `tsne:0.1/0.2/0.4/0.5`: left, bottom, right, top."""

    key: str
    title: str
    places: npt.NDArray[np.float32]

    def mask(self, term: Term, value: str) -> B8:
        corners = [number_of(term, part) for part in value.split("/")]
        if len(corners) != 4 or term.sign != ":":
            raise UsageError(f"{term.shown}: left/bottom/right/top is expected, such as 0.1/0.2/0.4/0.5")
        inside = (self.places >= corners[:2]) & (self.places <= corners[2:])
        return np.asarray(inside.all(axis=1))


@dataclass
class Pending(Column):
    """What is still being worked out. title : that it is, in words."""

    key: str
    title: str

    def mask(self, term: Term, value: str) -> B8:
        raise UsageError(f"{term.shown}: {self.title}; ask again in a moment")
