"""Write constraints.txt: the exact version of everything in the fresh virtual environment that `make pins`
runs this in, so that what was tested is what is installed.

Only torch's line stays as it is: which of its builds is meant is the machine's choice, not this list's.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""What the README promises."""
NOT_PINNED = {"amr-skeleton", "pip"}
CUDA = re.compile(r"(nvidia|cuda|triton)\b")
"""Come with torch's CUDA builds, whose own metadata says which."""
HEADER = """\
# The exact versions that `make demo`, `make test` and `make site` install; pyproject.toml keeps ranges for
# everybody else. Remade by `make pins`, this time with Python {python}. torch stays as it stands here, to be
# changed by hand: the CPU build on machines without a GPU. A marker says that the version is not made for
# older Pythons, where pip chooses.
"""


def marker(requires_python: str) -> str:
    """The environment marker of a version that is not made for all of our Pythons, else an empty text.

    requires_python : as in a package's metadata, such as '>=3.11'.
    """
    made_for = SpecifierSet(requires_python)
    fits = [p for p in PYTHONS if made_for.contains(f"{p}.99")]  # the newest of each: '>=3.10.2' fits 3.10
    from_python = [f'python_version >= "{fits[0]}"'] if fits[0] != PYTHONS[0] else []
    to_python = [f'python_version <= "{fits[-1]}"'] if fits[-1] != PYTHONS[-1] else []
    return " and ".join(from_python + to_python)


def pins(installed: Iterable[tuple[str, str, str]], torch: str) -> list[str]:
    """One line a package, sorted by name.

    installed : (name, version, Requires-Python) of each package.
    torch : the line that it keeps.
    """
    lines = {"torch": torch}
    for given, version, requires_python in installed:
        name = canonicalize_name(given)
        if name in lines or name in NOT_PINNED or CUDA.match(name):
            continue
        condition = marker(requires_python)
        lines[name] = f"{name}=={version.partition('+')[0]}" + (f" ; {condition}" if condition else "")
    return [lines[name] for name in sorted(lines)]


def main() -> None:
    (torch,) = re.findall(r"^torch==\S+", CONSTRAINTS.read_text(encoding="utf-8"), re.M)
    packages = list(importlib.metadata.distributions())
    lines = pins(
        ((p.metadata["Name"], p.version, p.metadata["Requires-Python"] or "") for p in packages), torch
    )
    header = HEADER.format(python=f"{sys.version_info.major}.{sys.version_info.minor}")
    CONSTRAINTS.write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} versions in {CONSTRAINTS.name}")


if __name__ == "__main__":
    main()
