"""Raw files that a suite is given in place of converted datasets: each archive or folder is recognised by its
content and converted once, to a folder beside the suite's runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from amr_cli.ui import note, progress_bar, tell
from amr_data import UsageError, convert, load_spec
from amr_data.readers import open_sources
from amr_data.readers.recognising import recognise
from amr_data.shards.layout import MANIFEST


def as_shards(
    data: Sequence[Path], wanted: Collection[str], out: Path, quiet: bool, only_plan: bool = False
) -> list[Path]:
    """Converted datasets as they are; raw files converted to OUT/data/NAME, those of one dataset together. A
    conversion that was stopped is taken up, a finished one stays.

    Args:
        wanted: names of the datasets that the suite needs, `stages.ANY` for any. Raw files are those of the
            only one; of several, each is taken for what it is recognised as.
        only_plan: convert nothing; what is converted already is found.
    Raises: UsageError where raw files belong to no dataset that a suite could need.
    """
    from amr_train.experiments.stages import ANY

    raw = [path for path in data if path.exists() and not (path / MANIFEST).is_file()]
    shards = [path for path in data if path not in raw]
    of_dataset: dict[str, list[Path]] = {}
    for path in raw:
        only = len(wanted) == 1 and ANY not in wanted
        name = next(iter(wanted)) if only else _recognised(path, out, quiet)
        of_dataset.setdefault(name, []).append(path)
    for name, paths in of_dataset.items():
        given = ", ".join(map(str, paths))
        folder = out / "data" / name
        if name not in wanted and ANY not in wanted:
            note("left alone", f"{given}: no stage needs {name}")
        elif not only_plan:
            shards.append(_converted(paths, folder, name, quiet))
        elif (folder / MANIFEST).is_file():
            shards.append(folder)
        else:
            note("not converted yet", f"{given}, so its stages are not measured")
    return shards


def _recognised(path: Path, out: Path, quiet: bool) -> str:
    """The built-in dataset that a raw file or folder holds. Raises: UsageError where it holds none."""
    out.mkdir(parents=True, exist_ok=True)
    with open_sources([path], out) as source:
        found = recognise(source)
    if not found.labelled:
        raise UsageError(
            f"{path}: {found.because}; convert it with `amr-data convert` and a spec of its own, and give "
            "that folder"
        )
    if not quiet:
        tell(f"{path}: {found.spec.title} ({found.because})")
    return found.spec.name


def _converted(paths: Sequence[Path], folder: Path, name: str, quiet: bool) -> Path:
    with progress_bar(f"converting {load_spec(name).title}", quiet=quiet) as update:
        found = convert(
            paths, folder, name, progress=lambda done, total, record: update(done, total, "")
        ).as_dict()
    if not quiet:
        tell(f"{found['clips']:,} clips, {found['rejects']:,} rejects → {folder}")
    return folder
