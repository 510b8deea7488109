"""Which files of a PKU-MMD source are label files, and which videos and clips the spec calls unusable."""

from __future__ import annotations

import zipfile

import pytest

from amr_data import convert, open_dataset
from amr_data.shards.reader import read_rejects
from amr_data.specs import load_spec

PKU1 = load_spec("pku-mmd-1")
VIDEO = "\n".join(" ".join(f"{(t + j) / 100:.6f}" for j in range(150)) for t in range(20)) + "\n"
ROWS = "3,2,12,2\n4,12,20,1\n"


def names_after(sources, out, spec=PKU1) -> tuple[list[str], dict[str, str]]:
    convert(sources, out, spec, workers=1)
    return open_dataset(out).names, {r.where: r.kind for r in read_rejects(out)}


@pytest.mark.parametrize(
    ("skeletons", "labels"),
    [("labelled/skeleton", "labelled/rows"), ("my labels/a", "my labels/b"), ("label", "skeleton")],
)
def test_the_content_tells_label_files_apart_whatever_the_folders_are_called(tmp_path, skeletons, labels):
    for folder, text in ((skeletons, VIDEO), (labels, ROWS)):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        (tmp_path / "raw" / folder / "0002-L.txt").write_text(text)
    assert names_after(tmp_path / "raw", tmp_path / "out") == (["0002-L_001", "0002-L_002"], {})


def test_a_flat_archive_of_labels_is_one(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    for name, text in (("Skeleton.7z", VIDEO), ("Label_PKUMMD.7z", ROWS)):
        with py7zr.SevenZipFile(tmp_path / name, "w") as archive:
            archive.writestr(text, "0002-L.txt")
            archive.writestr("" if "Label" in name else VIDEO, "0003-L.txt")
    names, rejects = names_after([tmp_path / "Skeleton.7z", tmp_path / "Label_PKUMMD.7z"], tmp_path / "out")
    assert names == ["0002-L_001", "0002-L_002"]
    assert rejects == {"Label_PKUMMD.7z/0003-L.txt": "empty"}


def test_a_file_that_is_neither_goes_by_the_name_of_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("all/labels of 2017/skeleton/0002-L.txt", "what is this\n")
        archive.writestr("all/labels of 2017/label/0002-L.txt", "\n  \n3,x,12,2\n")
        archive.writestr("skeleton/label/0003-L.txt", "1 2\n")
        archive.writestr("skeleton/0003-L.txt", VIDEO)
    names, rejects = names_after(tmp_path / "x.zip", tmp_path / "out")
    assert names == []
    assert rejects == {
        "x.zip/all/labels of 2017/label/0002-L.txt:3": "label_syntax",
        "x.zip/skeleton/label/0003-L.txt:1": "label_syntax",
    }


def test_unusable_videos_and_clips_are_left_out_by_name(tmp_path):
    for folder, text in (("skeleton", VIDEO), ("label", ROWS)):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        for name in ("0002-L", "0003-M"):
            (tmp_path / "raw" / folder / f"{name}.txt").write_text(text)
    spec = PKU1.model_copy(update={"unusable": ["0002-L", "0003-M_002"]})
    names, rejects = names_after(tmp_path / "raw", tmp_path / "out", spec)
    assert names == ["0003-M_001"]
    assert rejects == {
        "raw/skeleton/0002-L.txt": "listed_unusable",
        "raw/label/0003-M.txt:2": "listed_unusable",
    }
