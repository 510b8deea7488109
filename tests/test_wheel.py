"""The wheel, installed in a clean environment: the commands start and the specs are found from outside the
checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_works_outside_the_checkout(tmp_path):
    pytest.importorskip("setuptools", minversion="70.1")  # builds wheels without help from then on
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
        cwd=tmp_path,
    )
    (wheel,) = tmp_path.glob("*.whl")
    tops = {n.split("/")[0] for n in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in n}
    assert tops == {"amr_data", "amr_train", "amr_cli", "amr_specs"}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # the third-party packages are those of this environment; a path entry in a .pth file does not run the
    # .pth files found there
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    for command in ("amr-data", "amr-train"):
        done = subprocess.run(
            [tmp_path / "venv" / "bin" / command, "--help"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Usage" in done.stdout
    code = (
        "import amr_data, amr_specs, amr_train; from amr_data import load_spec; "
        "print(load_spec('ntu120').classes[120], len(load_spec('ntu60').unusable), "
        "'demo' in amr_train.experiment_names(), amr_specs.__file__)"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("rock-paper-scissors 302 True")
    assert str(tmp_path) in done.stdout
    code = (
        "from amr_data.viz.page import asset; from importlib.resources import files; "
        "served = {f.name for f in (files('amr_data.viz') / 'assets' / 'workbench').iterdir()}; "
        "print(len(asset('three.min.js')) > 500_000 and {'main.js', 'workbench.css'} <= served)"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"  # three.js and the workbench's files are in the wheel
