"""The one way into a shard file. HDF5 may keep data in other files, promise arrays that are not there, and
follow links; a shard of ours does none of it, so `Shard` refuses that before it reads a value: exactly the
known datasets, plain and whole inside this file, of the known types and of sizes that the file's own size
bears out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5g, h5l, h5o, h5s, h5t, h5z
from pydantic import ValidationError
from pydantic_core import from_json

from amr_data.readers.members import bomb
from amr_data.shards.heaps import heaps_are_sound
from amr_data.shards.kept import KEPT, KeptTables
from amr_data.shards.layout import (
    COORDINATES,
    INTERVAL_DTYPE,
    MAX_CHUNK_BYTES,
    MAX_ID_BYTES,
    MAX_JSON_BYTES,
    MAX_NAME_BYTES,
    VIEW_DTYPE,
    clip_dtype,
    recording_dtype,
    stretch_dtype,
    track_dtype,
)
from amr_data.shards.model import DamageError, Note, ShardRecord, believed, check_place
from amr_data.shards.tables import check_rows
from amr_data.specs import first_problem

TEXT_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
"""How HDF5 keeps a text of any length: its length in bytes and where it lies."""
LZF = 32000
FRAMES, ROOT = (b"joints", b"energy"), (b"frames", b"tracks", b"clips", b"notes", b"record")
KEPT_ROOT = (*(name.encode() for name in KEPT), b"recording_notes")
"""What a shard holds besides where it keeps recordings."""


class Shard:
    """An open shard whose structure was checked; a context manager.

    joints, scales : V and S, what the dataset's manifest says.  rows : F, frames of all tracks.
    Raises: DamageError, also from every method.
    """

    def __init__(self, path: Path, joints: int, scales: int) -> None:
        self.path = path
        with _damage(path):
            check_place(path)
            self._bytes = os.path.getsize(path)
            self._file = h5py.File(path, "r")
        try:
            with _damage(path):
                self._open(joints, scales)
        except BaseException:
            self._file.close()
            raise

    def _open(self, joints: int, scales: int) -> None:
        root, created = self._file.id, self._file.id.get_create_plist()
        if created.get_userblock() or created.get_sizes() != (8, 8):
            raise self._wrong("unreadable", "it is no HDF5 file as shards are")
        self._root = h5o.open(root, b"/")
        self.keeps: bool = bool(self._root.links.exists(KEPT_ROOT[0]))
        self._check_members(self._root, (*ROOT, *KEPT_ROOT) if self.keeps else ROOT)
        frames = self._object(self._root, b"frames", h5g.GroupID)
        self._check_members(frames, FRAMES)
        wanted = {"joints": (joints, COORDINATES), "energy": (joints, scales)}
        sizes = []
        self._frames: dict[str, h5py.Dataset] = {}
        for name, shape in wanted.items():
            dataset = self._object(frames, name.encode(), h5d.DatasetID)
            found = self._check(dataset, f"frames/{name}", chunked=True)
            if dataset.dtype != np.float32 or len(found) != 3 or found[1:] != shape:
                what = (
                    f"/frames/{name} is {dataset.dtype}{found}, expected float32 (F, {shape[0]}, {shape[1]})"
                )
                raise self._wrong("structure", what)
            sizes.append(found[0])
            self._frames[name] = h5py.Dataset(dataset)
        if sizes[0] != sizes[1]:
            raise self._wrong("structure", f"{sizes[0]:,} frames of joints, {sizes[1]:,} of energy")
        self.rows: int = sizes[0]
        self._clips, self._tracks = self._table("clips"), self._table("tracks")
        self._columns = clip_dtype(1, 1, joints, scales), track_dtype(1)
        self._notes, self._record = self._texts("notes", 1), self._texts("record", 0)
        notes, clips = self._notes.shape[0], self._clips.shape[0]
        if notes != clips:
            raise self._wrong("structure", f"{notes:,} notes for {clips:,} clips")
        if self.keeps:
            self._kept = [self._table(name) for name in KEPT]
            self._recording_notes = self._texts("recording_notes", 1)
            notes, recordings = self._recording_notes.shape[0], self._kept[0].shape[0]
            if notes != recordings:
                raise self._wrong("structure", f"{notes:,} notes for {recordings:,} recordings")

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def fingerprint(self) -> str | None:
        """Of the plan that the shard was made under."""
        with _damage(self.path):
            value = self._file.attrs.get("fingerprint")
        return value if isinstance(value, str) else None

    def tables(
        self, classes: int, bodies: int
    ) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void], KeptTables | None]:
        """/clips and /tracks, and those of the recordings where the shard keeps them (without their notes),
        every row checked.  classes, bodies : how many the dataset has."""
        with _damage(self.path):
            clips = self._rows(self._clips, "clips", self._columns[0])
            tracks = self._rows(self._tracks, "tracks", self._columns[1])
            kept = self._kept_rows() if self.keeps else None
        problem = check_rows(clips, tracks, self.rows, classes, bodies, kept)
        if problem:
            raise self._wrong(*problem)
        return clips, tracks, kept

    def _kept_rows(self) -> KeptTables:
        columns = recording_dtype(1), stretch_dtype(1), VIEW_DTYPE, INTERVAL_DTYPE
        recordings, stretches, views, intervals = (
            self._rows(table, name, kind) for table, name, kind in zip(self._kept, KEPT, columns, strict=True)
        )
        return KeptTables(recordings, stretches, views, intervals, [])

    def frames(
        self, low: int, high: int, energy: bool = True
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Joints (K, V, 3) and energies (K, V, S) of the rows `low` to `high`, all finite. `energy`: whether
        the energies are read; S is 0 without them."""
        joints, energies = self.raw_frames(low, high, energy)
        for name, values in (("joints", joints), ("energy", energies)):
            # one NaN or infinity makes the sum one; several times as fast as looking at each value
            with np.errstate(all="ignore"):
                if not np.isfinite(values.sum()):
                    raise self._wrong(
                        "non_finite", f"a value of {name} in rows {low} to {high} is not finite"
                    )
        return joints, energies

    def raw_frames(
        self, low: int, high: int, energy: bool = True
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The same, whatever the values are."""
        with _damage(self.path):
            joints = self._frames["joints"][low:high]
            none = np.empty((*joints.shape[:2], 0), np.float32)
            return joints, self._frames["energy"][low:high] if energy else none

    def notes(self, low: int, high: int) -> list[Note]:
        """The notes of the clips `low` to `high`, counted within the shard."""
        return [self._note(text) for text in self.note_texts(low, high)]

    def note_texts(self, low: int, high: int) -> list[str]:
        return self._text_rows(self._notes, "notes", low, high)

    def recording_notes(self, low: int, high: int) -> list[Note]:
        """The notes of the recordings `low` to `high`, counted within the shard."""
        return [self._note(text) for text in self.recording_note_texts(low, high)]

    def recording_note_texts(self, low: int, high: int) -> list[str]:
        return self._text_rows(self._recording_notes, "recording_notes", low, high)

    def _text_rows(self, dataset: h5py.Dataset, name: str, low: int, high: int) -> list[str]:
        self._check_lengths(dataset, name)
        with _damage(self.path):
            return [text.decode() for text in dataset[low:high].tolist()]

    def record(self) -> ShardRecord:
        """What the shard says of itself."""
        self._check_lengths(self._record, "record")
        with _damage(self.path):
            data = from_json(self._record[()], allow_inf_nan=False)
        record = believed(self.path, ShardRecord, data)
        found = self._clips.shape[0], self.rows
        rows = record.kept.rows if record.kept else record.frames
        if (record.clips, rows) != found:
            what = f"its record counts {record.clips:,} clips, {rows:,} frames, the tables hold {found}"
            raise self._wrong("structure", what)
        if (record.kept is not None) != self.keeps:
            raise self._wrong("structure", "its record says otherwise whether it keeps recordings")
        sums = len(record.position_sum), len(record.position_square_sum), len(record.energy_sum)
        if sums != (COORDINATES, COORDINATES, self._frames["energy"].shape[2]):
            raise self._wrong("structure", "the sums of its record do not fit its tables")
        return record

    def _note(self, text: str) -> Note:
        try:
            return Note.model_validate_json(text)
        except ValidationError as error:
            raise self._wrong("structure", f"a note: {first_problem(error)}") from None

    def _check_members(self, group: Any, known: tuple[bytes, ...]) -> None:
        """A group holds exactly the known things, each by a hard link."""
        for name in known:
            if not group.links.exists(name):
                raise self._wrong("unreadable", f"there is no {name.decode()} in it")
            if group.links.get_info(name).type != h5l.TYPE_HARD:
                raise self._wrong("unreadable", f"{name.decode()} is a link to somewhere else")
        if group.get_num_objs() != len(known):
            raise self._wrong("unreadable", "it holds more than a shard does")

    def _object(self, group: Any, name: bytes, kind: type) -> Any:
        found = h5o.open(group, name)
        if not isinstance(found, kind):
            raise self._wrong("unreadable", f"{name.decode()} is not what a shard has by that name")
        return found

    def _table(self, name: str) -> Any:
        dataset = self._object(self._root, name.encode(), h5d.DatasetID)
        if len(self._check(dataset, name)) != 1:
            raise self._wrong("structure", f"/{name} does not have one row each")
        return dataset

    def _rows(self, dataset: Any, name: str, expected: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """A table whole, by the type that it has in the file: nothing is converted, which takes longer."""
        kind = dataset.dtype
        if not _same_fields(kind, expected):
            raise self._wrong("structure", f"/{name} does not have the columns of this format")
        limits = {"name": MAX_NAME_BYTES, "video": MAX_NAME_BYTES, "body_id": MAX_ID_BYTES}
        for field, most in limits.items():
            if field in kind.names and kind[field].itemsize > most:
                width = f"{kind[field].itemsize:,} bytes wide, at most {most:,}"
                raise self._wrong("structure", f"{field} is {width}")
        rows = np.empty(dataset.shape, kind)
        dataset.read(h5s.ALL, h5s.ALL, rows, dataset.get_type())
        return rows

    def _texts(self, name: str, axes: int) -> h5py.Dataset:
        dataset = self._object(self._root, name.encode(), h5d.DatasetID)
        kind = dataset.get_type()
        shape = self._check(dataset, name)
        if len(shape) != axes or kind.get_class() != h5t.STRING or not kind.is_variable_str():
            raise self._wrong("structure", f"/{name} is not text")
        return h5py.Dataset(dataset)

    def _check(self, dataset: Any, name: str, chunked: bool = False) -> tuple[int, ...]:
        """That a dataset lies whole in this file, whatever it promises. Returns its shape."""
        plan = dataset.get_create_plist()
        layout = plan.get_layout()
        if plan.get_external_count() or layout == h5d.VIRTUAL:
            raise self._wrong("unreadable", f"/{name} keeps its data in other files")
        if layout != h5d.CONTIGUOUS and not (chunked and layout == h5d.CHUNKED):
            raise self._wrong("structure", f"/{name} is not laid out as in a shard")
        space = dataset.get_space()
        if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
            raise self._wrong("structure", f"/{name} is empty")
        shape = tuple(space.get_simple_extent_dims())
        kind = dataset.get_type()
        varying = kind.get_class() == h5t.STRING and kind.is_variable_str()
        size = math.prod(shape) * (TEXT_REFERENCE.itemsize if varying else kind.get_size())
        if layout == h5d.CHUNKED:
            self._check_chunks(dataset, name, shape, plan)
        elif size:
            offset = dataset.get_offset()
            if offset is None or offset + size > self._bytes or dataset.get_storage_size() != size:
                raise self._wrong("structure", f"/{name} promises {size:,} bytes that are not in the file")
        return shape

    def _check_chunks(self, dataset: Any, name: str, shape: tuple[int, ...], plan: Any) -> None:
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        if filters not in ([], [h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE], [h5z.FILTER_SHUFFLE, LZF]):
            raise self._wrong("structure", f"/{name} is packed by filters that no shard uses: {filters[:8]}")
        chunk = tuple(plan.get_chunk())
        frame = math.prod(chunk[1:]) * dataset.get_type().get_size()
        whole = chunk[0] * frame
        if len(shape) != 3 or chunk[1:] != shape[1:] or chunk[0] > max(shape[0], 1):
            raise self._wrong("structure", f"/{name} has chunks of {chunk} for {shape}")
        if whole > max(MAX_CHUNK_BYTES, frame):
            raise self._wrong(
                "structure", f"/{name} has chunks of {whole:,} bytes, at most {MAX_CHUNK_BYTES:,}"
            )
        count = -(-shape[0] // chunk[0])
        if dataset.get_num_chunks() != count:
            raise self._wrong("structure", f"/{name} promises {count:,} chunks that are not in the file")
        stored: list[int] = []

        def look(info: Any) -> bool | None:
            outside = info.byte_offset is None or info.byte_offset + info.size > self._bytes
            if outside or info.filter_mask or not 0 < info.size <= 2 * whole:
                return True  # ends the walk, and the counts differ
            stored.append(info.size)
            return None

        if count:
            dataset.chunk_iter(look)
        packed = sum(stored)
        if len(stored) != count or packed > self._bytes:
            raise self._wrong("structure", f"a chunk of /{name} lies outside the file")
        if problem := bomb(count * whole, packed):
            raise self._wrong("structure", f"/{name} is {problem}")

    def _check_lengths(self, dataset: h5py.Dataset, name: str) -> None:
        """HDF5 takes memory for a text by its length before it looks whether the text is there, so the
        lengths are looked at first, as they lie in the file."""
        count = math.prod(dataset.shape)
        if not count:
            return
        with _damage(self.path):
            found = np.fromfile(self.path, TEXT_REFERENCE, count, offset=dataset.id.get_offset())
        total = int(found["length"].sum(dtype=np.uint64))
        if len(found) != count or total > min(self._bytes, MAX_JSON_BYTES):
            raise self._wrong(
                "structure", f"/{name} promises {total:,} bytes of text that are not in the file"
            )
        looked_into = (found["length"] > 0) | (found["heap"] > 0)  # HDF5 looks for a text of no length too
        if not heaps_are_sound(self.path, set(found["heap"][looked_into].tolist()), self._bytes):
            raise self._wrong("structure", f"the texts of /{name} do not lie in the file as HDF5 lays them")

    def _wrong(self, kind: str, detail: str) -> DamageError:
        return DamageError(self.path, kind, detail)


def is_shard(path: Path) -> bool:
    """Whether a file is a shard of ours, sound or not, by the marks that every one carries."""
    try:
        check_place(path)
        with h5py.File(path, "r") as file:
            return {"format_version", "fingerprint"} <= set(file.attrs)
    except (DamageError, OSError, RuntimeError):
        return False


def _same_fields(found: np.dtype[Any], expected: np.dtype[np.void]) -> bool:
    """Whether a table has exactly the expected columns; the length of a text may differ."""
    if found.names != expected.names or found.names is None:
        return False
    for name in found.names:
        a, b = found[name], expected[name]
        if (a.base.kind, a.shape) != (b.base.kind, b.shape) or (a.base != b.base and b.base.kind != "S"):
            return False
    return found == np.dtype([(name, found[name]) for name in found.names])  # no gap between the columns


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What HDF5 and its Python side raise on a file that is not sound, as one error."""
    try:
        yield
    except FileNotFoundError:
        raise DamageError(path, "missing_shard", "the file is not there") from None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, MemoryError, OverflowError) as error:
        text = " ".join(str(error).split())[:160]
        raise DamageError(path, "unreadable", f"it cannot be read ({type(error).__name__}: {text})") from None
