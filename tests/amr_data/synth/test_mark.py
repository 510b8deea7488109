"""What is made from invented motion says so, through folders, archives, repairs, exports and pictures."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amr_data import convert, open_dataset, repair, verify
from amr_data.looking.inspection import dataset_summary
from amr_data.readers.safe_pickle import load_plain
from amr_data.shards.exchange import export_dataset
from amr_data.shards.reader import read_rejects
from amr_data.synth import synthesize
from amr_data.viz import clip_scene, contact_sheet, side_by_side, viewer_page, with_raw, write_animation
from amr_data.viz.overview import overview_page
from amr_data.viz.page import packed
from amr_data.viz.server import make_app
from amr_data.viz.workbench import Workbench

MARK = "synthetic.json"


@pytest.fixture
def real(ntu_file, tmp_path) -> Path:
    """One file that nobody marked."""
    (tmp_path / "real").mkdir()
    body = np.random.default_rng(0).normal(0, 0.3, (25, 3))
    (tmp_path / "real" / "S009C001P001R001A009.skeleton").write_bytes(ntu_file([[("1", body)]] * 3))
    return tmp_path / "real"


@pytest.fixture
def invented(ntu_raw, tmp_path) -> Path:
    """Two files of the generator with its mark."""
    (tmp_path / "invented").mkdir()
    for path in [*sorted(ntu_raw.glob("*A001.skeleton"))[:2], ntu_raw / MARK]:
        shutil.copy(path, tmp_path / "invented")
    return tmp_path / "invented"


def said(out: Path) -> object:
    return json.loads((out / "manifest.json").read_text())["source"]["synthetic"]


def test_the_mark_says_what_it_is_and_how_it_was_made(tmp_path):
    made = synthesize(
        tmp_path / "raw", "ntu60", classes=1, subjects=1, replications=1, broken=0, seed=7, workers=1
    )
    mark = json.loads((tmp_path / "raw" / MARK).read_text())
    assert (mark["synthetic"], mark["dataset"], mark["seed"]) == (True, "ntu60", 7)
    assert "invented motion" in mark["what"]
    assert version("amr-skeleton") in mark["generator"]
    assert made.files == len(list((tmp_path / "raw").iterdir())) - 1, "the mark is no file of the dataset"


def test_a_folder_left_unfinished_is_marked(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "raw", "ntu60", classes=1, subjects=2, workers=1, progress=stop)
    assert (tmp_path / "raw" / MARK).exists()


def test_folders_and_archives_tell_at_any_depth(invented, tmp_path):
    shutil.copytree(invented, tmp_path / "deep" / "a" / "b")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for path in invented.iterdir():
            archive.write(path, f"download/{path.name}")
    for source in (invented, tmp_path / "deep", tmp_path / "packed.zip"):
        report = convert(source, tmp_path / f"out-{source.stem}", "ntu60", workers=1)
        assert said(report.path) is report.as_dict()["synthetic"] is True
        assert (report.as_dict()["sources"], report.as_dict()["clips"], read_rejects(report.path)) == (
            2,
            2,
            [],
        )
        assert open_dataset(report.path).synthetic


def test_a_7z_archive_tells(invented, tmp_path):
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(tmp_path / "packed.7z", "w") as archive:
        archive.writeall(invented, "download")
    assert said(convert(tmp_path / "packed.7z", tmp_path / "out", "ntu60", workers=1).path) is True


def test_one_synthetic_source_among_several_is_enough(invented, real, tmp_path):
    assert said(convert(real, tmp_path / "one", "ntu60", workers=1).path) is False
    assert not open_dataset(tmp_path / "one").synthetic
    assert said(convert([real, invented], tmp_path / "both", "ntu60", workers=1).path) is True


def test_each_folder_of_pku_mmd_tells_alone(tmp_path):
    synthesize(tmp_path / "raw", "pku-mmd-2", classes=2, subjects=1, replications=1, broken=0, workers=1)
    for name in ("skeleton", "label"):
        shutil.copytree(tmp_path / "raw" / name, tmp_path / "alone" / name)
    (tmp_path / "alone" / "skeleton" / MARK).unlink()
    assert said(convert(tmp_path / "alone", tmp_path / "out", "pku-mmd-2", workers=1).path) is True


def test_among_json_sources_the_mark_is_neither_source_nor_reject(tmp_path):
    (tmp_path / "raw").mkdir()
    clip = {"skeletons": np.random.default_rng(0).normal(0, 0.3, (4, 20, 3)).tolist(), "label": 1}
    (tmp_path / "raw" / "a01_s01_e00_v01.json").write_text(json.dumps(clip))
    (tmp_path / "raw" / MARK).write_text("{}")
    report = convert(tmp_path / "raw", tmp_path / "out", "nw-ucla", workers=1)
    assert (report.as_dict()["sources"], report.as_dict()["rejects"], said(report.path)) == (1, 0, True)


def test_a_dataset_stays_marked_when_the_mark_is_lost(invented, tmp_path):
    """The mark is no clip, so resume and repair take the folder for the same without it."""
    out = convert(invented, tmp_path / "out", "ntu60", workers=1).path
    (invented / MARK).unlink()
    (out / "manifest.json").unlink()
    assert convert(invented, out, "ntu60", workers=1).kept_shards == 1
    assert said(out) is True
    for lost in ("shard-00000.h5", "plan.json"):
        (out / lost).unlink()
        repair(out, [invented], workers=1)
        assert said(out) is True
        assert verify(out) == []
    fresh = convert(invented, tmp_path / "fresh", "ntu60", workers=1)
    assert said(fresh.path) is False
    assert fresh.manifest["source"]["fingerprint"] == open_dataset(out).manifest["source"]["fingerprint"]


def test_a_manifest_from_before_the_mark_says_nothing(real, tmp_path):
    out = convert(real, tmp_path / "out", "ntu60", workers=1).path
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["source"]["synthetic"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert not open_dataset(out).synthetic
    assert verify(out) == []


def test_a_pickle_of_it_keeps_the_mark(invented, real, tmp_path):
    for source, expected in ((invented, True), (real, False)):
        dataset = open_dataset(convert(source, tmp_path / f"from-{source.name}", "ntu60", workers=1).path)
        pickle = tmp_path / f"{source.name}.pkl"
        export_dataset(dataset, pickle, "pyskl")
        assert load_plain(pickle).get("synthetic", False) is expected
        assert said(convert(pickle, tmp_path / f"back-{source.name}", "ntu60").path) is expected


def test_every_picture_of_it_says_so(ntu_shards, ntu_raw, tmp_path):
    dataset = open_dataset(ntu_shards)
    assert dataset.title == "NTU RGB+D 60 · synthetic: invented motion"
    summary = dataset_summary(dataset)
    assert summary["synthetic"] is True
    page = overview_page(summary, None)
    assert '<p id="synthetic" role="note">Synthetic: ' in page
    assert '<p id="synthetic"' not in overview_page({**summary, "synthetic": False}, None)
    served = make_app(Workbench(dataset)).test_client().get("/").get_data(as_text=True)
    assert "<title>NTU RGB+D 60 · synthetic: invented motion</title>" in served
    scenes = [clip_scene(dataset, i) for i in (0, 1)]
    for scene in (scenes[0], side_by_side(scenes), *with_raw(scenes[:1], dataset, [ntu_raw])):
        assert contact_sheet(scene)._suptitle.get_text().endswith(" · synthetic")
        assert packed(scene)["title"].endswith(" · synthetic")
    assert "<title>2 clips · synthetic</title>" in viewer_page(scenes)
    pictures = []
    for synthetic in (True, False):
        write_animation(replace(scenes[0], synthetic=synthetic), tmp_path / "clip.gif", height=200)
        with Image.open(tmp_path / "clip.gif") as picture:
            pictures.append(np.asarray(picture.convert("L")).astype(int))
    differ = np.flatnonzero(np.abs(pictures[0] - pictures[1]).max(axis=1) > 64)
    assert len(differ)
    height = len(pictures[0])
    assert differ.max() > 0.9 * height, "the word stands in the line below the bodies"
    assert ((differ < 0.12 * height) | (differ > 0.9 * height)).all(), "and in none that crosses them"


def test_pictures_of_real_clips_do_not(real, tmp_path):
    dataset = open_dataset(convert(real, tmp_path / "out", "ntu60", workers=1).path)
    assert dataset.title == "NTU RGB+D 60"
    assert "synthetic" not in packed(clip_scene(dataset, 0))["title"]
    assert "Synthetic" not in overview_page(dataset_summary(dataset), None)
