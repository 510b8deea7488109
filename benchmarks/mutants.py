"""`make mutants`: small changes made to the data side, one at a time, and whether a test notices each.

A mutant that survives is a place where the code could be wrong and no test would tell. mutmut makes and runs
them: it forks a process of pytest for each and runs only the tests that reach the changed function. A module
has a folder of its own below `.mutants`, so that a run goes on where it was stopped; survivors are tried
again each time. Survivors that no test can or should kill are judged in `judged_mutants.yaml`; any other
makes the run fail. mutmut changes functions only: constants have tests that state them.

python -m benchmarks.mutants amr_data/recipes/motion.py
"""

from __future__ import annotations

import difflib
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import yaml

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".mutants"
JUDGED = Path(__file__).with_name("judged_mutants.yaml")
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
MEMORY = 8 << 30
"""Bytes; a mutant may ask for any amount."""
WORDING = "wording of a message"
CONFIGURATION = """
[tool.mutmut]
source_paths = ["amr_data"]
only_mutate = ["{module}"]
also_copy = ["docs"]
pytest_add_cli_args = ["--hypothesis-profile=ci"]
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 10.0
timeout_constant = 2.0
use_git_change_detection = false

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
addopts = "-q --import-mode=importlib"
"""

_RECIPES = ("recipes/",)
_SPECS = ("test_specs.py", "test_splits.py", "test_spec_fields.py")
_TABLES = ("shards/test_tables.py",)
_FILES = tuple(
    f"readers/test_{name}.py"
    for name in (
        "families",
        "ntu_family",
        "nw_ucla_family",
        "pku_family",
        "ntu_reader",
        "other_readers",
        "pku_files",
    )
)
MODULES: dict[str, tuple[str, ...]] = {
    "amr_data/recipes/motion.py": _RECIPES,
    "amr_data/recipes/cleaning.py": _RECIPES,
    "amr_data/recipes/normalize.py": _RECIPES,
    "amr_data/specs/splits.py": _SPECS,
    "amr_data/specs/dataset.py": _SPECS,
    "amr_data/specs/skeleton.py": _SPECS,
    "amr_data/specs/loading.py": ("test_loading.py",),
    "amr_data/shards/writer.py": _TABLES,
    "amr_data/manifest.py": _TABLES,
    "amr_data/shards/reader.py": ("shards/test_reader.py",),
    "amr_data/shards/arrays.py": ("shards/test_reader.py",),
    "amr_data/shards/tables.py": ("shards/test_row_checks.py",),
    "amr_data/readers/base.py": ("readers/test_discovery.py",),
    "amr_data/readers/text.py": ("readers/test_text.py",),
    "amr_data/readers/ntu.py": (*_FILES, "recipes/test_cleaning.py", "readers/test_scanning.py"),
    "amr_data/readers/nw_ucla.py": _FILES,
    "amr_data/readers/pku_mmd.py": (*_FILES, "readers/test_scanning.py"),
    "amr_data/readers/imports.py": ("readers/test_import_families.py",),
    "amr_data/readers/imported_clips.py": ("readers/test_imported_clips.py",),
    "amr_data/readers/split_lists.py": ("readers/test_imported_clips.py",),
    "amr_data/readers/table/labels.py": ("readers/table/test_label_rows.py",),
    "amr_data/readers/table/takes.py": ("readers/table/test_takes.py",),
    "amr_data/readers/table/bodies.py": ("readers/table/test_bodies.py",),
    "amr_data/readers/bvh.py": ("readers/test_bvh.py",),
    "amr_data/readers/bvh_file.py": ("readers/test_bvh_file.py",),
}
"""What is mutated, and the tests below tests/amr_data that must notice: those that stand for the module, and
take seconds."""


def main(arguments: list[str]) -> int:
    unknown = [a for a in arguments if a not in MODULES]
    if unknown:
        print(f"{unknown[0]} is none of {', '.join(MODULES)}", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    judged = yaml.safe_load(JUDGED.read_text(encoding="utf-8")) or {}
    unjudged = sum(try_module(module, judged.get(module, {})) for module in arguments or MODULES)
    return 1 if unjudged else 0


def try_module(module: str, judged: dict[str, dict[str, str]]) -> int:
    """Try the mutants of one module. Prints those that survive; returns how many of these are not judged.

    judged : function to the changed line, as it survives, to the reason.
    """
    print(f"\n{module}", flush=True)
    folder = prepared(module)
    before = {name for name, _ in surviving(results(folder))} if (folder / "mutants").exists() else set()
    with (folder / "log").open("w") as log:
        try_mutants(folder, log)
        again = [name for name, _ in surviving(results(folder)) if name in before]
        if again:
            try_mutants(folder, log, *again)
    everything = results(folder)
    survivors = surviving(everything)
    reasons = []
    unneeded = {(function, line) for function, lines in judged.items() for line in lines}
    for name, state in survivors:
        removed, added = changed(told(folder, "show", name))
        function = name.removeprefix(dotted(module) + ".").rpartition("__mutmut_")[0]
        function = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        reason = WORDING if only_wording(removed, added) else judged.get(function, {}).get(added)
        reasons.append(reason)
        unneeded.discard((function, added))
        if reason != WORDING:
            print(f"\n  {function}: {state}, {reason or 'NOT JUDGED'}\n  - {removed}\n  + {added}")
    for function, line in sorted(unneeded):
        print(f"\n  {function}: judged, but no survivor\n  + {line}")
    unjudged = reasons.count(None)
    print(
        f"\n  {len(everything)} mutants, {len(everything) - len(survivors)} killed, {len(survivors)} survive:"
    )
    print(f"  {reasons.count(WORDING)} {WORDING}, {unjudged} not judged", flush=True)
    return unjudged


def prepared(module: str) -> Path:
    """The module's folder, where the packages are seen as they are now."""
    folder = WORK / dotted(module)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("amr_data", "tests", "docs"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(ROOT / name)
    tests = [f"tests/amr_data/{name}" for name in MODULES[module]]
    for copy in (folder / "mutants" / "amr_data").rglob("*.py"):
        os.utime(copy, (0, 0))  # mutmut goes by time, and leaves alone what seems newer than the package
    (folder / "pyproject.toml").write_text(CONFIGURATION.format(module=module, tests=tests))
    statistics = folder / "mutants" / "mutmut-stats.json"
    if statistics.exists():
        written = statistics.stat().st_mtime
        if any(p.stat().st_mtime > written for p in (ROOT / "tests").rglob("*.py")):
            statistics.unlink()  # which tests reach which function is found out anew
            shutil.rmtree(folder / "mutants" / "tests", ignore_errors=True)
    return folder


def try_mutants(folder: Path, log: TextIO, *names: str) -> None:
    """Let mutmut try the named mutants, or all that were not tried yet."""
    command = [MUTMUT, "run", "--max-children", "1", *names]
    if subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT).returncode:
        log.flush()
        raise SystemExit(f"{(folder / 'log').read_text(errors='replace')[-3000:]}\nmutmut failed in {folder}")


def told(folder: Path, *arguments: str) -> str:
    return subprocess.run([MUTMUT, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def results(folder: Path) -> list[tuple[str, str]]:
    """Every mutant's name and what became of it."""
    lines = (line.strip().rpartition(": ") for line in told(folder, "results", "--all", "true").splitlines())
    return [(name, state) for name, _, state in lines if name]


def surviving(everything: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, state) for name, state in everything if state not in ("killed", "timeout")]


def changed(diff: str) -> tuple[str, str]:
    """What a diff takes out and what it puts in, as one line each."""
    kept = [line for line in diff.splitlines() if not re.match(r"(---|\+\+\+) ", line)]
    lines = [re.sub(r"\s+# .*", "", line) for line in kept]
    removed, added = (" ".join(x[1:].strip() for x in lines if x.startswith(sign)) for sign in "-+")
    return removed, added


def only_wording(removed: str, added: str) -> bool:
    """Whether a mutant differs in the letters of a text of several words, which only people read."""
    if re.sub(r"XX", "", added).lower() != re.sub(r"XX", "", removed).lower():
        return False
    a, b = removed.replace("XX", ""), added
    spans = [s for s in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes() if s[0] != "equal"]
    texts = [m.span() for m in re.finditer(r'"[^"]* [^"]*"', removed)]
    return all(any(start <= s[1] and s[2] <= end for start, end in texts) for s in spans)


def dotted(module: str) -> str:
    return module.removesuffix(".py").replace("/", ".")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
