"""Where datasets lie, as they are given to a command: a folder, and behind a colon the split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amr_data import UsageError
from amr_train.experiments.loading import parse_overrides


def place_of(text: str) -> tuple[Path, str | None]:
    """A dataset's folder and the split behind a colon, None where there is none: `ntu60/:xsub`."""
    folder, colon, split = text.rpartition(":")
    if not colon or not split or Path(text).exists() or not Path(folder).exists():
        return Path(text), None
    return Path(folder), split


def places_as_settings(places: Sequence[str | Path], changes: Sequence[str] = ()) -> dict[str, object]:
    """What datasets that are given with their splits, see `place_of`, change in the settings `data`.

    changes : settings that are given beside them.  Raises: UsageError where these say otherwise.
    """
    if not places:
        return {}
    found: dict[str, object] = {"paths": [str(place) for place in places]}
    if len(places) == 1:
        path, split = place_of(str(places[0]))
        found = {"path": str(path), **({"split": split} if split else {})}
    given = parse_overrides(changes).get("data", {})
    for key in ("path", "paths", *found):
        if given.get(key) is not None and given[key] != found.get(key):
            both = " ".join(f"--data {place}" for place in places)
            raise UsageError(f"{both} and data.{key}={given[key]} say two things: leave one of them out")
    return found
