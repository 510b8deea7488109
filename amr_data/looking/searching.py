"""What people type to find clips, taken apart: `class:throw -split:test fault:"joint jump" frames>200 S001`.

A term is a key, a comparison and one or more values behind commas, or free text; a minus before it turns it
round, quotes hold spaces together. What cannot be understood is said, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from amr_data.errors import UsageError, unknown

MOST = 2000
"""Characters of a search."""
KEYED = re.compile(r"([A-Za-z_]+)(>=|<=|[:=<>])")
ORDERED = ("<", ">", "<=", ">=")


@dataclass(frozen=True)
class Term:
    """key : '' for free text.  sign : `:`, or how a number compares; an equals sign means `:`.
    values : any of them."""

    key: str
    sign: str
    values: tuple[str, ...]
    negated: bool = False

    @property
    def shown(self) -> str:
        """The term as it may be typed."""
        values = ",".join(map(quoted, self.values))
        return f"{'-' * self.negated}{self.key}{self.sign if self.key else ''}{values}"


def parse_search(text: str, keys: Collection[str]) -> list[Term]:
    """The terms of a search. keys : that are known, in lower case.

    Raises: UsageError, in one line, for an unknown key, a key without a value, or a quote that does not end.
    """
    if len(text) > MOST:
        raise UsageError(f"the search has {len(text):,} characters, at most {MOST:,} are read")
    terms: list[Term] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            return terms
        begin, negated = at, text[at] == "-"
        at += negated
        key, sign = "", ":"
        if match := KEYED.match(text, at):
            key, sign, at = match[1].lower(), match[2], match.end()
            if key not in keys:
                hint = f'; text that holds {match[2]} stands in quotes: "..."'
                raise UsageError(unknown("key", key, sorted(keys)) + hint)
        values, at = _values(text, at, many=bool(key))
        if not all(values):
            raise UsageError(
                f"'{text[begin:at]}' says nothing to look for: a value follows, such as frames>200"
            )
        terms.append(Term(key, ":" if sign == "=" else sign, tuple(values), negated))


def quoted(value: str) -> str:
    """A value as it may be typed, in quotes where it needs them."""
    if re.fullmatch(r"[^\s\"\\,:<>=-][^\s\"\\,:<>=]*", value):
        return value
    return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))


def is_index(text: str) -> bool:
    """Whether a text is a number of something, not its name."""
    return re.fullmatch("[0-9]{1,9}", text) is not None


def number_of(term: Term, value: str) -> float:
    """A value as a number. Raises: UsageError."""
    try:
        return float(value) if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", value) else float("")
    except ValueError:
        raise UsageError(f"{term.key}{term.sign}{value}: '{value}' is not a number") from None


def _values(text: str, at: int, many: bool) -> tuple[list[str], int]:
    """Values up to a space outside quotes, and where they end. `many` : whether commas part them."""
    values, value = [], ""
    while at < len(text) and not text[at].isspace():
        if text[at] == '"':
            part, at = _quoted(text, at)
            value += part
        elif text[at] == "," and many:
            values.append(value)
            value, at = "", at + 1
        else:
            value, at = value + text[at], at + 1
    return [*values, value], at


def _quoted(text: str, at: int) -> tuple[str, int]:
    begin, value, at = at, "", at + 1
    while at < len(text):
        if text[at] == '"':
            return value, at + 1
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        value, at = value + text[at], at + 1
    raise UsageError(f"the quote does not end: {text[begin : begin + 40]}")
