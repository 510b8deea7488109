"""A raw family in a user's own file, as the document shows it whole, works like the built-in ones."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import convert, open_dataset
from amr_data.errors import UsageError
from amr_data.readers import load_family

PAGE = Path(__file__).resolve().parents[3] / "docs" / "adding-a-format.md"
MARKERS = ["C7", "RSHO", "SACR", "LSHO"]
"""Not in the skeleton's order."""


def trc_text(frames: int, unit: str = "mm") -> str:
    """Marker m in frame t lies at (t, 100 m, -m)."""
    head = [
        "PathFileType\t4\t(X/Y/Z)\tx.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits",
        f"100\t100\t{frames}\t4\t{unit}",
        "Frame#\tTime\t" + "\t\t\t".join(MARKERS),
        "\t\t" + "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, 5)),
    ]
    rows = [
        f"{t + 1}\t{t / 100}\t" + "\t".join(f"{t}\t{100 * m}\t{-m}" for m in range(4)) for t in range(frames)
    ]
    return "\n".join([*head, *rows]) + "\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the files that the document shows, and recordings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = PAGE.read_text(encoding="utf-8")
    for name, block in re.findall(r"```(?:python|yaml)\n# ([\w.-]+)\n(.*?)```", text, re.S):
        (tmp_path / name).write_text(block, encoding="utf-8")
    (tmp_path / "recordings").mkdir()
    for name, frames in (("slow_01", 20), ("fast_01", 15), ("slow_02", 12), ("jump_02", 12)):
        (tmp_path / "recordings" / f"{name}.trc").write_text(trc_text(frames))
    (tmp_path / "recordings" / "fast_02.trc").write_text(trc_text(9).replace("LSHO", "XXXX"))
    yield tmp_path
    sys.modules.pop("trc_family", None)
    load_family.cache_clear()


def test_the_documents_family_converts(here):
    done = CliRunner().invoke(
        main, ["convert", "recordings", "walks", "--spec", "walks.yaml", "--workers", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "a name like slow_01" in " ".join(done.output.split())
    dataset = open_dataset("walks")
    assert dataset.names == ["fast_01", "slow_01", "slow_02"]
    assert dataset.manifest["rejects_by_reason"] == {"name": 1, "not_skeleton": 1}
    assert dataset.manifest["protocol_counts"]["xsub"] == {"train": 2, "test": 1, "unassigned": 0}
    clip = dataset.clip("slow_01")
    hip, neck = clip.tracks[0].joints[:, 0], clip.tracks[0].joints[:, 1]
    np.testing.assert_allclose(hip[:3], [[0, 0, 0], [0.001, 0, 0], [0.002, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(neck[0], [0, -0.2, 0.002], atol=1e-7)  # C7 is marker 0, SACR marker 2


def test_its_options_are_checked_like_any_other(here):
    report = convert("recordings", "walks", "walks.yaml", options={"skip": 10}, workers=1)
    assert open_dataset("walks").clips["frames"].tolist() == [5, 10, 2]
    assert report.manifest["recipe"]["skip"] == 10
    with pytest.raises(UsageError, match="skip"):
        convert("recordings", "other", "walks.yaml", options={"skip": -1}, workers=1)
    with pytest.raises(UsageError, match="jump is no option of OpenSim marker files"):
        convert("recordings", "other", "walks.yaml", options={"jump": 1}, workers=1)


def test_its_spec_is_checked_by_it(here):
    text = Path("walks.yaml").read_text()
    Path("walks.yaml").write_text(text.replace("hip: SACR, ", ""))
    with pytest.raises(UsageError, match="names no marker for the joint hip"):
        convert("recordings", "walks", "walks.yaml")


def test_an_installed_family_brings_its_options_to_the_command(here, monkeypatch):
    installed = here / "trc_family-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: trc-family\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[amr_data.readers]\ntrc = trc_family:Trc\n")
    monkeypatch.syspath_prepend(str(here))
    Path("walks.yaml").write_text(Path("walks.yaml").read_text().replace("trc_family:Trc", "trc"))
    main.commands["convert"].__dict__.pop("_family_options", None)
    try:
        assert "Frames left out at the beginning" in CliRunner().invoke(main, ["convert", "--help"]).output
        words = ["convert", "recordings", "walks", "--spec", "walks.yaml", "--skip", "10", "--workers", "1"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        assert open_dataset("walks").clips["frames"].tolist() == [5, 10, 2]
    finally:
        main.commands["convert"].__dict__.pop("_family_options", None)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("nowhere:Class", "cannot be imported"),
        ("trc_family:TrcLayout", "must name a subclass"),
        ("trk", "there is no raw family 'trk'"),
    ],
)
def test_a_family_that_cannot_be_had(here, raw, says):
    Path("walks.yaml").write_text(Path("walks.yaml").read_text().replace("trc_family:Trc", raw))
    with pytest.raises(UsageError, match=says):
        convert("recordings", "walks", "walks.yaml")
    assert not Path("walks").exists()
