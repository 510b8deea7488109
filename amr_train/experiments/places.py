"""Where datasets lie, as they are given to a command: a folder, and behind a colon the split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amr_data import UsageError, open_dataset
from amr_train.experiments.settings import parse_overrides


def place_of(text: str) -> tuple[Path, str | None]:
    """A dataset's folder and the split behind a colon, None where there is none: `ntu60/:xsub`."""
    folder, colon, split = text.rpartition(":")
    if not colon or not split or Path(text).exists() or not Path(folder).exists():
        return Path(text), None
    return Path(folder), split


def places_as_settings(places: Sequence[str | Path], changes: Sequence[str] = ()) -> dict[str, object]:
    """What datasets that are given with their splits, see `place_of`, change in the settings `data`; of those
    that an experiment's file names none is left.

    changes : settings that are given beside them.  Raises: UsageError where these say otherwise.
    """
    if not places:
        return {}
    found: dict[str, object] = {"path": None, "paths": [str(place) for place in places]}
    if len(places) == 1:
        path, split = place_of(str(places[0]))
        found = {"path": str(path), "paths": [], **({"split": split} if split else {})}
    given = parse_overrides(changes).get("data", {})
    for key, value in found.items():
        if given.get(key) is not None and _as_places(given[key]) != _as_places(value):
            raise _two_things(places, f"data.{key}={given[key]}")
    splits = given.get("splits") or {}
    for path, split in map(place_of, map(str, places)) if splits else ():
        name = open_dataset(path).spec.name
        if split and splits.get(name, split) != split:
            raise _two_things(places, f"data.splits.{name}={splits[name]}")
    return found


def _as_places(value: object) -> object:
    """Places that can be compared: `ntu60/` is `ntu60`."""
    return [str(Path(str(place))) for place in (value if isinstance(value, list) else [value])]


def _two_things(places: Sequence[str | Path], setting: str) -> UsageError:
    both = " ".join(f"--data {place}" for place in places)
    return UsageError(f"{both} and {setting} say two things: leave one of them out")
