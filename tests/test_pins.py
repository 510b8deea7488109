"""constraints.txt pins all that is installed, by versions that each of our Pythons can take."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pins", ROOT / ".ci" / "pins.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("requires_python", "marker"),
    [
        ("", ""),
        (">=3.8", ""),
        (">=3.10", ""),
        (">=3.10.4,!=3.11.0", ""),
        ("<3.14,>=3.10", ""),
        (">= 3.11", 'python_version >= "3.11"'),
        ("!=3.14.1,>=3.11", 'python_version >= "3.11"'),
        ("<3.13,>=3.11", 'python_version >= "3.11" and python_version <= "3.12"'),
        (">=3.9,<3.12", 'python_version <= "3.11"'),
    ],
)
def test_a_marker_says_which_of_our_pythons_a_version_is_made_for(script, requires_python, marker):
    assert script.marker(requires_python) == marker


def test_torch_keeps_its_line_and_its_cuda_packages_none(script):
    installed = [
        ("torch", "2.13.0+cpu", ">=3.10"),
        ("ruamel.yaml", "1.2", ""),
        ("Numpy", "2.4.6+local", ">=3.11"),
        ("nvidia-cudnn-cu13", "9.20", ""),
        ("cuda-bindings", "13.4", ""),
        ("triton", "3.7", ""),
        ("amr-skeleton", "0.1.0", ">=3.10"),
        ("pip", "23.2", ""),
    ]
    assert script.pins(installed, "torch==2.13.0") == [
        'numpy==2.4.6 ; python_version >= "3.11"',
        "ruamel-yaml==1.2",
        "torch==2.13.0",
    ]


def test_every_line_is_one_exact_version():
    names = []
    for line in LINES:
        requirement = Requirement(line)
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(requirement.specifier)), line
        assert not requirement.url
        assert not requirement.extras
        names.append(requirement.name)
    assert names == sorted(set(names))
    assert "torch" in names
    assert not re.search(r"https?:|file:|/|^-", "\n".join(LINES), re.M)


def test_all_that_is_installed_is_pinned(script):
    """Everything that our requirements lead to in this environment, extras included."""
    made_with = re.search(r"with Python (3\.[0-9]+)", TEXT)
    assert made_with
    if made_with[1] != f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip(f"the list is made with Python {made_with[1]}; others need a few packages besides")
    ours = importlib.metadata.distribution("amr-skeleton")
    extras = ours.metadata.get_all("Provides-Extra") or []
    waiting = [("amr-skeleton", extra) for extra in ("", *extras)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        for requirement in map(Requirement, needed):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                found = [(canonicalize_name(requirement.name), e) for e in ("", *requirement.extras)]
                waiting += [f for f in found if f not in seen]
                seen.update(found)
    names = {name for name, _ in seen} - script.NOT_PINNED
    missing = {n for n in names if not script.CUDA.match(n)} - {Requirement(line).name for line in LINES}
    assert len(names) > 30
    assert not missing, "make pins"
