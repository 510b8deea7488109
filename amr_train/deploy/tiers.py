"""Found actions as files that others open: CSV and JSON as `amr_data.interval_files` writes them, and tiers
for annotators in ELAN's EAF."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

from amr_data import UsageError
from amr_data.files import whole_file
from amr_data.interval_files import FORMS as TABLES
from amr_data.interval_files import write_intervals
from amr_train.deploy.timelines import Timeline

FORMS = (*TABLES, ".eaf")
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
LONGEST = 150
"""Characters of a recording's name in a file's; systems take 255 with all that is put to it."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_A_FILE = re.compile(r"[^A-Za-z0-9._ -]+")


def write_timelines(found: Sequence[Timeline], classes: Sequence[str], out: Path) -> list[Path]:
    """Write to a .csv, .json or .eaf file, or all three for each recording into a folder. Returns the files.

    Raises: UsageError for another ending, or where one .eaf file should hold several recordings.
    """
    check_place(out)
    if out.suffix.lower() not in FORMS:
        return _into(found, classes, out)
    _write(found, classes, out)
    return [out]


def check_place(out: Path) -> None:
    """Whether found actions could be written there, which is better known before they are looked for.
    Raises: UsageError."""
    known = out.suffix.lower() in FORMS
    if not known and out.suffix and not out.is_dir():
        raise UsageError(f"found actions are written to {', '.join(FORMS)} or a folder, not {out.suffix}")
    if known and out.is_dir():
        raise UsageError(f"{out} is a folder; name a file in it, or a folder without {out.suffix}")
    for place in (out.parent, *out.parent.parents) if known else (out, *out.parents):
        if place.exists():
            if not place.is_dir():
                raise UsageError(f"{place} is a file, so nothing can be written into it")
            return


def as_eaf(one: Timeline, classes: Sequence[str]) -> bytes:
    """A tier a class in milliseconds, with the score behind the class's name. What overlaps stands in a
    further tier, since ELAN's hold no two annotations at a time."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "amr-train",
            "DATE": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": INSTANCE,
            "xsi:noNamespaceSchemaLocation": SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    times = ElementTree.SubElement(root, "TIME_ORDER")
    tiers: dict[tuple[int, int], ElementTree.Element] = {}
    ends: dict[tuple[int, int], int] = {}
    taken: set[str] = set()  # a tier has a name of its own
    rows = one.as_dict(classes)["intervals"]
    for number, row in enumerate(rows, 1):
        first, end = (round(1000 * row[key] / one.fps) for key in ("first", "end"))
        layer = next(n for n in range(len(rows)) if ends.get((row["label"], n), 0) <= first)
        place = (row["label"], layer)
        if place not in tiers:
            called = _free(_text(row["class"]) + (f" {layer + 1}" if layer else ""), taken)
            about = {"LINGUISTIC_TYPE_REF": "action", "TIER_ID": called}
            tiers[place] = ElementTree.Element("TIER", about)
        ends[place] = end
        slots = [f"ts{2 * number - 1}", f"ts{2 * number}"]
        for slot, value in zip(slots, (first, end), strict=True):
            ElementTree.SubElement(times, "TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": str(value)})
        annotation = ElementTree.SubElement(
            ElementTree.SubElement(tiers[place], "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            {"ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": slots[0], "TIME_SLOT_REF2": slots[1]},
        )
        value = ElementTree.SubElement(annotation, "ANNOTATION_VALUE")
        value.text = f"{_text(row['class'])} {row['score']:.2f}"
    ElementTree.SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"}).text = str(len(rows))
    for place in sorted(tiers):
        root.append(tiers[place])
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "action", "TIME_ALIGNABLE": "true"},
    )
    ElementTree.indent(root)
    made: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return made


def _into(found: Sequence[Timeline], classes: Sequence[str], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    taken: set[str] = set()
    for one in found:
        name = _free(_NOT_A_FILE.sub("-", one.recording)[:LONGEST].strip(". -") or "recording", taken, "-")
        for form in FORMS:
            path = folder / f"{name}{form}"
            _write([one], classes, path)
            made.append(path)
    return made


def _write(found: Sequence[Timeline], classes: Sequence[str], path: Path) -> None:
    if path.suffix.lower() != ".eaf":
        write_intervals(path, (one.as_intervals(classes) for one in found), classes)
        return
    if len(found) != 1:
        raise UsageError(f"{path} holds one recording, and here are {len(found)}: give a folder")
    with whole_file(path) as temporary:
        temporary.write_bytes(as_eaf(found[0], classes))


def _free(name: str, taken: set[str], between: str = " ") -> str:
    """The name, with a number where it is taken already, in letters of either size."""
    number, free = 1, name
    while free.lower() in taken:
        number += 1
        free = f"{name}{between}{number}"
    taken.add(free.lower())
    return free


def _text(text: str) -> str:
    """Without characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
