"""The guide's three journeys do what they say: their files are written and their commands run in order, as
they stand on the page. Only sizes are others, those of `scale=tiny` with short probes, and the archive of NTU
is made of synthetic files."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
import zipfile
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import amr_train
from amr_cli.data import main as data_main
from amr_cli.train import main as train_main
from amr_data import open_dataset
from amr_train.config import Experiment

pytestmark = pytest.mark.long

DOCS = Path(__file__).resolve().parents[1] / "docs"
SMALL = ["scale=tiny", "evaluation.logistic.iterations=3", "evaluation.logistic.folds=2"]


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Every experiment at the size of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        load = amr_train.load_experiment

        def small(name: str, changes: Sequence[str] = (), last: dict[str, Any] | None = None) -> Experiment:
            return load(name, [*changes, *SMALL], last)

        patch.setattr(amr_train, "load_experiment", small)
        yield


def walk(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Do all that a page says, in a folder. Returns what each command wrote."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    said: dict[str, str] = {}
    text = (DOCS / page).read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M):
        if language:
            (name,) = re.findall(r"\A# (\S+)\n", block)
            Path(name).write_text(block, encoding="utf-8")
            continue
        for line in block.splitlines():
            program, *words = shlex.split(line)
            if program == "python":
                runpy.run_path(words[0])
                continue
            words = [found for word in words for found in (sorted(glob(word)) if "*" in word else [word])]
            main = {"amr-data": data_main, "amr-train": train_main}[program]
            done = CliRunner().invoke(main, words)
            assert done.exit_code == 0, f"{line}\n{done.output}"
            said[line] = done.stdout
    return said


def test_ntu_on_disk(ntu_raw, tmp_path, monkeypatch):
    with zipfile.ZipFile(
        tmp_path / "nturgbd_skeletons_s001_to_s017.zip", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        for file in sorted(ntu_raw.rglob("*")):
            if file.is_file():
                archive.write(file, f"nturgb+d_skeletons/{file.name}")
    said = walk("journey-ntu.md", tmp_path, monkeypatch)
    assert len(said) > 10
    table = said["amr-train report runs/ --format md"]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert any("ntu60-xsub-amr" in row for row in rows)
    assert any("ntu60-xsub-mamp" in row for row in rows)
    assert "SYNTHETIC" in table
    assert {"ntu60.html", "clips.html", "report.html", "rehearsal"} <= {p.name for p in tmp_path.iterdir()}


def test_own_recordings(tmp_path, monkeypatch):
    said = walk("journey-own-recordings.md", tmp_path, monkeypatch)
    (told,) = (text for line, text in said.items() if line.startswith("amr-train predict"))
    assert any(action in told for action in ("wave", "bow", "sit"))
    dataset = open_dataset(tmp_path / "mine")
    assert (len(dataset), dataset.spec.class_names) == (36, ["bow", "sit", "wave"])
    assert len(dataset.split("xsub", "test")) == 9
    assert {"mine.html", "clips.html", "features.parquet"} <= {p.name for p in tmp_path.iterdir()}
    assert (tmp_path / "mine-encoder" / "README.md").is_file()


def test_a_method_of_ones_own(tmp_path, monkeypatch):
    said = walk("journey-new-method.md", tmp_path, monkeypatch)
    told = said["amr-train run compare.yaml --data ntu60/ --out runs/compare"]
    assert "arrow" in told
    assert {"report.html", "runs"} <= {p.name for p in tmp_path.iterdir()}
    runs = {p.name for p in (tmp_path / "runs" / "compare").iterdir() if (p / "results.json").is_file()}
    assert {"arrow-0", "arrow-1", "ntu60-xsub-amr-0", "ntu60-xsub-amr-1"} <= runs
