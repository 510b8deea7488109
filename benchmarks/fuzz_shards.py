"""Fuzz targets for what a dataset folder may hold: values of a shard's tables and texts, datasets of other
shapes and types, and the manifest. HDF5's own metadata is left alone: what the library does with it is not
decided here."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import AmrError
from amr_data.files import sha256_of
from amr_data.manifest import split_columns, write_manifest
from amr_data.plan import Settings
from amr_data.recipes.normalize import Recipe
from amr_data.shards.reader import ShardDataset
from amr_data.shards.verification import verify
from amr_data.shards.writer import build_tables, write_shard
from amr_data.specs import load_spec

SHARD = "shard-00000.h5"
TABLES = ("clips", "tracks", "frames/joints", "frames/energy", "notes", "record")
KINDS = ("<f4", "<f8", "<i4", "<i8", "S3", "S70000", "<c8", "|b1")


def make_dataset(folder: Path) -> Path:
    """Two clips of three frames."""
    spec, rng = load_spec("nw-ucla").changed(max_bodies=2), np.random.default_rng(0)
    folder.mkdir()
    clips = []
    for label, name in enumerate(("a", "b")):
        joints, energy = (rng.random((3, 20, 3)).astype(np.float32) for _ in range(2))
        tracks = [BodyTrack(np.arange(3), joints, "7", slot, None, energy) for slot in range(label + 1)]
        clips.append(Clip(name, label, 3, tracks, subject=1, camera=1, source="raw/a"))
    tables = build_tables(clips, 20, 30.0)
    record, sha256 = write_shard(folder / SHARD, tables, [], "f", "none")
    plan: Any = SimpleNamespace(
        spec=spec,
        settings=Settings(Recipe()),
        family=SimpleNamespace(centres=lambda recipe, spec: True),
        source=SimpleNamespace(names=["raw"]),
        sources=2,
        bytes=2,
        fingerprint="f",
        synthetic=False,
        rejects=[],
    )
    write_manifest(folder, plan, [record], [sha256], [split_columns(tables.clips, spec)])
    return folder


def shard_target(scratch: Path) -> Callable[[bytes], None]:
    """Bytes as edits of the shard: of values, or of one dataset's shape and type."""
    folder = make_dataset(scratch / "dataset")
    sound, manifest = (folder / SHARD).read_bytes(), json.loads((folder / "manifest.json").read_text())
    with h5py.File(folder / SHARD) as file:
        places = [(file[t].id.get_offset(), file[t].id.get_storage_size()) for t in TABLES]
    texts = [(sound.index(b'{"source"'), 400), (sound.index(b'{"clips"'), 900)]

    def one(data: bytes) -> None:
        (folder / SHARD).write_bytes(_edited(sound, data[1:], [*places, *texts]))
        if data[:1] and data[0] & 1:
            _replace(folder / SHARD, data[1:])
        manifest["shards"][0]["sha256"] = sha256_of(folder / SHARD)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        _use(folder)

    return one


def manifest_target(scratch: Path) -> Callable[[bytes], None]:
    """Bytes as the manifest, and as the rejects."""
    folder = make_dataset(scratch / "dataset")

    def one(data: bytes) -> None:
        (folder / "manifest.json").write_bytes(data)
        (folder / "rejects.jsonl").write_bytes(data)
        _use(folder)

    return one


def manifest_seed(scratch: Path) -> bytes:
    return (make_dataset(scratch / "seed") / "manifest.json").read_bytes()


def _edited(sound: bytes, data: bytes, places: list[tuple[int, int]]) -> bytes:
    """Each 12 bytes: which region, where in it, how many bytes, and eight bytes to put there."""
    image = bytearray(sound)
    for at in range(0, min(len(data), 240) - 11, 12):
        region, where, count = struct.unpack_from("<BHB", data, at)
        start, size = places[region % len(places)]
        place, count = start + where % max(size, 1), 1 + count % 8
        image[place : place + count] = data[at + 4 : at + 4 + count]
    return bytes(image[: len(sound)])


def _replace(path: Path, data: bytes) -> None:
    which, kind, axes, layout, *sizes = [*data[:8], *bytes(8)][:8]
    shape = tuple(size * 3 for size in sizes[: axes % 4])
    options: dict[str, Any] = {"chunks": True, "compression": "gzip"} if layout & 1 and shape else {}
    if layout & 2 and shape:
        shape = (shape[0] << 32, *shape[1:])
    with h5py.File(path, "r+") as file:
        name = TABLES[which % len(TABLES)]
        del file[name]
        try:
            file.create_dataset(name, shape, KINDS[kind % len(KINDS)], **options)
        except (ValueError, TypeError, OSError):
            return


def _use(folder: Path) -> None:
    verify(folder)
    try:
        dataset = ShardDataset(folder)
        for clip in dataset:
            clip.dense()
        for name in dataset.spec.protocols:
            dataset.arrays(dataset.split(name, "train"))
    except AmrError:
        return
