"""Doctored shards and manifests: what each does to a sound dataset, and a word that the error must have."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from amr_data.files import sha256_of

SHARD = "shard-00001.h5"
SECRET = "the first line of a private file\n"
Change = Callable[[h5py.File], None]


def seal(folder: Path) -> None:
    """Make the manifest name the doctored shard's hash, so that only its content speaks against it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        if (folder / shard["file"]).is_file():
            shard["sha256"] = sha256_of(folder / shard["file"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edit(change: Change) -> Callable[[Path], None]:
    def doctor(folder: Path) -> None:
        with h5py.File(folder / SHARD, "r+", libver="latest") as file:
            change(file)
        seal(folder)

    return doctor


def anew(name: str, make: Callable[[np.ndarray], Any], **options: Any) -> Callable[[Path], None]:
    """Write a dataset again from other values, or with other options."""

    def change(file: h5py.File) -> None:
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=make(values), **options)

    return edit(change)


def field(table: str, name: str, value: Any, row: int = 0) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        values = file[table][()]
        values[name][row] = value
        file[table][...] = values

    return edit(change)


def linked(name: str, link: Any) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link(file) if callable(link) else link

    return edit(change)


def external(name: str) -> Callable[[Path], None]:
    """Keep a table's bytes in a local file, which HDF5 reads in its place."""

    def doctor(folder: Path) -> None:
        private = folder.parent / "private.txt"
        private.write_text(SECRET * 4000)

        def change(file: h5py.File) -> None:
            old = file[name]
            shape, kind = old.shape, old.dtype
            del file[name]
            size = int(np.prod(shape)) * kind.itemsize
            file.create_dataset(name, shape, kind, external=[(str(private), 0, size)])

        edit(change)(folder)

    return doctor


def virtual(file: h5py.File) -> None:
    shape = file["frames/joints"].shape
    del file["frames/joints"]
    layout = h5py.VirtualLayout(shape, np.float32)
    layout[:] = h5py.VirtualSource("shard-00000.h5", "frames/joints", shape=shape)
    file.create_virtual_dataset("frames/joints", layout)


def promised(chunks: bool) -> Change:
    """A terabyte of frames of which not one is in the file."""

    def change(file: h5py.File) -> None:
        for name, width in (("joints", 3), ("energy", 3)):
            del file[f"frames/{name}"]
            layout = {"chunks": (1000, 25, width), "compression": "gzip", "shuffle": True} if chunks else {}
            file.create_dataset(f"frames/{name}", (10**10, 25, width), np.float32, **layout)

    return change


def bomb(file: h5py.File) -> None:
    """80 MB of zeros in about 80 kB."""
    for name in ("joints", "energy"):
        del file[f"frames/{name}"]
        options = {"chunks": (3000, 25, 3), "compression": "gzip", "compression_opts": 9, "shuffle": True}
        file.create_dataset(f"frames/{name}", data=np.zeros((280_000, 25, 3), np.float32), **options)


def long_text(name: str) -> Callable[[Path], None]:
    """Let a text's length, as it lies in the file, promise 4 GB."""

    def doctor(folder: Path) -> None:
        with h5py.File(folder / SHARD, "r") as file:
            place = file[name].id.get_offset()
        with open(folder / SHARD, "r+b") as raw:
            raw.seek(place)
            raw.write(struct.pack("<I", 0xFFFFFFF0))
        seal(folder)

    return doctor


def padded(table: np.ndarray) -> np.ndarray:
    names = list(table.dtype.names)
    offsets = [table.dtype.fields[n][1] + 64 * i for i, n in enumerate(names)]
    kinds = [table.dtype[n] for n in names]
    size = table.dtype.itemsize + 64 * len(names)
    out = np.zeros(
        table.shape, np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": size})
    )
    for name in names:
        out[name] = table[name]
    return out


def retyped(name: str, kind: Any) -> Callable[[np.ndarray], np.ndarray]:
    def make(table: np.ndarray) -> np.ndarray:
        return table.astype([(n, kind if n == name else table.dtype[n]) for n in table.dtype.names])

    return make


def note(text: str) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        file["notes"][0] = text

    return edit(change)


def record(**fields: Any) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        content = json.loads(file["record"][()])
        del file["record"]
        text = json.dumps({**content, **fields})
        file.create_dataset("record", data=text, dtype=h5py.string_dtype())

    return edit(change)


def replaced(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def doctor(folder: Path) -> None:
        (folder / SHARD).unlink()
        make(folder / SHARD)

    return doctor


def link_out(path: Path) -> None:
    outside = path.parent.parent / "outside.h5"
    outside.write_bytes((path.parent / "shard-00000.h5").read_bytes())
    path.symlink_to(outside)


Doctor = Callable[[Path], None]
SHARDS: dict[str, tuple[Doctor, str]] = {
    "clips in another file": (external("clips"), "other files"),
    "joints in another file": (external("frames/joints"), "other files"),
    "a soft link": (linked("clips", h5py.SoftLink("/tracks")), "link"),
    "a link to another file": (linked("clips", h5py.ExternalLink("shard-00000.h5", "/clips")), "link"),
    "frames of another file": (linked("frames", h5py.ExternalLink("shard-00000.h5", "/frames")), "link"),
    "frames that are the whole file": (linked("frames", lambda f: f["/"]), "joints"),
    "virtual joints": (edit(virtual), "other files"),
    "chunks that are not there": (edit(promised(True)), "promises"),
    "a terabyte that is not there": (edit(promised(False)), "promises"),
    "a bomb": (edit(bomb), "bomb"),
    "one huge chunk": (
        anew("frames/joints", lambda v: v, chunks=(60_000, 25, 3), maxshape=(None, 25, 3)),
        "chunks",
    ),
    "a filter of no shard": (anew("frames/joints", lambda v: v, fletcher32=True), "filters"),
    "two packings at once": (anew("frames/joints", lambda v: v, compression="gzip"), "filters"),
    "one dataset more": (edit(lambda f: f.create_dataset("more", data=1)), "more than a shard"),
    "no notes": (edit(lambda f: f.__delitem__("notes")), "no notes"),
    "a group for a table": (
        edit(lambda f: (f.__delitem__("clips"), f.create_group("clips"))),
        "not what a shard",
    ),
    "double joints": (anew("frames/joints", lambda v: v.astype(np.float64)), "float64"),
    "joints of four values": (anew("frames/joints", lambda v: np.repeat(v, 2, 2)[..., :4]), "expected"),
    "fewer energies": (anew("frames/energy", lambda v: v[:-1]), "of energy"),
    "flat joints": (anew("frames/joints", lambda v: v.reshape(len(v), -1)), "expected"),
    "a column of another type": (anew("clips", retyped("label", "<f4")), "columns"),
    "a column of another name": (
        anew("clips", lambda t: t.astype([(f"x{n}", t.dtype[n]) for n in t.dtype.names])),
        "columns",
    ),
    "gaps between the columns": (anew("clips", padded), "columns"),
    "a name 100 kB wide": (anew("clips", retyped("name", "S100000")), "wide"),
    "a table of one row": (anew("clips", lambda t: t[0]), "one row each"),
    "a packed table": (anew("tracks", lambda t: t, compression="gzip"), "laid out"),
    "an empty table": (anew("tracks", lambda t: h5py.Empty(t.dtype)), "empty"),
    "notes of numbers": (anew("notes", lambda v: np.arange(len(v))), "not text"),
    "a note too few": (anew("notes", lambda v: v[:-1], dtype=h5py.string_dtype()), "notes for"),
    "a name that is no text": (field("clips", "name", b"\xff\xfe"), "UTF-8"),
    "a body id that is no text": (field("tracks", "body_id", b"\xff"), "UTF-8"),
    "a track of no clip": (field("tracks", "clip", 2**31 - 1, -1), "no clip"),
    "a track of a clip before the first": (field("tracks", "clip", -1), "no clip"),
    "a slot below 0": (field("tracks", "slot", -1), "slot"),
    "a slot past the bodies": (field("tracks", "slot", 2, -1), "slot"),
    "a track before the frames": (field("tracks", "first_row", -(2**63)), "point outside"),
    "a track past the frames": (field("tracks", "first_row", 2**63 - 1, -1), "point outside"),
    "a track that reads rows again": (field("tracks", "first_row", 0, 1), "do not follow"),
    "a track without a frame": (field("tracks", "frames", 0), "no frame"),
    "a track of 2^31 frames": (field("tracks", "frames", 2**31 - 1), "after its clip"),
    "a track that ends after its clip": (field("tracks", "first_frame", 2**31 - 1), "after its clip"),
    "tracks out of order": (anew("tracks", lambda t: t[::-1]), "follow"),
    "a clip of 2^31 frames": (field("clips", "frames", 2**31 - 1), "frames is outside"),
    "a class that does not exist": (field("clips", "label", 60), "label is outside"),
    "a label below none": (field("clips", "label", -2), "label is outside"),
    "a body too many": (field("clips", "bodies", 7), "other bodies"),
    "a still share of 2": (field("clips", "still_share", 2), "still_share"),
    "a mean energy below 0": (field("clips", "mean_energy", -1), "mean_energy"),
    "a path that is no number": (field("clips", "path_length", np.nan), "path_length"),
    "an inferred share of infinity": (field("clips", "inferred_share", np.inf), "inferred_share"),
    "a link out of the folder": (replaced(link_out), "leads out"),
    "a pipe": (replaced(os.mkfifo), "regular file"),
    "a folder": (replaced(Path.mkdir), "regular file"),
    "text": (replaced(lambda p: p.write_text(SECRET)), "OSError"),
    "no file": (lambda folder: (folder / SHARD).unlink(), "not there"),
}
"""Seen as soon as the dataset is opened."""

READ: dict[str, tuple[Doctor, str]] = {
    "a joint that is no number": (
        edit(lambda f: f["frames/joints"].__setitem__((0, 3, 1), np.nan)),
        "not finite",
    ),
    "an infinite energy": (edit(lambda f: f["frames/energy"].__setitem__((0, 3, 1), np.inf)), "not finite"),
    "a note that is no JSON": (note("{"), "note"),
    "a note that sets other fields": (
        note('{"source": "a", "start": 0, "dropped": [], "name": "b"}'),
        "note",
    ),
    "a note without its start": (note('{"source": "a", "dropped": []}'), "note"),
    "a note with text for a number": (note('{"source": "a", "start": "0", "dropped": []}'), "note"),
    "a note with text for a list": (note('{"source": "a", "start": 0, "dropped": "abc"}'), "note"),
    "a note that promises 4 GB": (long_text("notes"), "bytes of text"),
}
"""Seen when the clip is read."""

RECORDS: dict[str, tuple[Doctor, str]] = {
    "a record that promises 4 GB": (long_text("record"), "bytes of text"),
    "a record of other counts": (record(clips=3), "counts"),
    "a record with a count below 0": (record(bodies=-1), "bodies"),
    "a record with text for a count": (record(clip_frames="9"), "clip_frames"),
    "a record of sums that do not fit": (record(position_sum=[0.0]), "sums"),
    "a record without a number": (record(energy_sum=[float("nan")] * 3), "unreadable"),
    "a record with a class of text": (record(class_counts={"x": 1}), "class_counts"),
}
"""Seen when the shard's record is asked for: by verify, by a conversion that goes on, by a repair."""


def manifest(**fields: Any) -> Doctor:
    def doctor(folder: Path) -> None:
        content = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**content, **fields}))

    return doctor


def within(*keys: Any, value: Any) -> Doctor:
    def doctor(folder: Path) -> None:
        content = json.loads((folder / "manifest.json").read_text())
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (folder / "manifest.json").write_text(json.dumps(content))

    return doctor


def text(content: str | bytes) -> Doctor:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / "manifest.json").write_bytes(data) and None


def far_too_large(folder: Path) -> None:
    os.truncate(folder / "manifest.json", 65 << 20)


def manifest_link(folder: Path) -> None:
    outside = folder.parent / "manifest.json"
    (folder / "manifest.json").rename(outside)
    (folder / "manifest.json").symlink_to(outside)


MANIFESTS: dict[str, tuple[Doctor, str]] = {
    "no JSON": (text("{"), "JSON"),
    "no UTF-8": (text(b'{"format_version": "\xff"}'), "JSON"),
    "a list": (text("[]"), "object"),
    "a hundred thousand lists": (text("[" * 100_000), "JSON"),
    "no version": (text("{}"), "version"),
    "another version": (manifest(format_version=2), "version 2"),
    "nothing but the version": (text('{"format_version": 1}'), "required"),
    "no number": (within("statistics", "position_mean", value=[float("nan")] * 3), "JSON"),
    "a number of 5,000 digits": (within("totals", "clips", value=10**4000), "totals.clips"),
    "clips below 0": (within("shards", 0, "clips", value=-1), "shards.0.clips"),
    "clips as text": (within("shards", 0, "clips", value="9"), "shards.0.clips"),
    "shards that are no list": (manifest(shards={"0": {}}), "shards"),
    "a shard elsewhere": (within("shards", 0, "file", value="../other/shard-00000.h5"), "name"),
    "a shard by an absolute path": (within("shards", 0, "file", value="/etc/passwd"), "name"),
    "a shard twice": (within("shards", 1, "file", value="shard-00000.h5"), "gap"),
    "a spec that is none": (manifest(spec={"name": "x"}), "spec"),
    "a spec of text": (manifest(spec="ntu60"), "spec"),
    "a frame rate without end": (within("spec", "frame_rate", value=1e400), "JSON"),
    "no window": (manifest(windows=[]), "windows"),
    "a window of text": (manifest(windows=["4"]), "windows.0"),
    "windows that the shards do not have": (manifest(windows=[4] * 64), "energy"),
    "two joints fewer": (within("spec", "max_bodies", value=1), "slot"),
    "clips that the shards do not have": (within("shards", 0, "clips", value=10**9), "manifest says"),
    "a source of text": (manifest(source="raw"), "source"),
    "a class of text": (manifest(class_counts={"drink": 1}), "class_counts"),
    "a split of text": (manifest(protocol_counts={"xsub": {"train": "1"}}), "protocol_counts"),
    "a recipe of text": (manifest(recipe="amr"), "recipe"),
    "a recipe of odd types": (within("recipe", "rotate", value="no"), "recipe.rotate"),
    "65 MB": (far_too_large, "64 MiB"),
    "a link out of the folder": (manifest_link, "leads out"),
}
