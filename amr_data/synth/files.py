"""Procedural raw files in the true raw layouts, for the demo, the tests and benchmarks. Invented motion,
never to be shown as real data: a mark in each folder says so, and what is made from it says so too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np

from amr_data.errors import UsageError
from amr_data.files import SYNTHETIC_MARK, write_json
from amr_data.specs import DatasetSpec, load_spec
from amr_data.synth.ntu import NtuWriter
from amr_data.synth.pku_mmd import PkuMmdWriter
from amr_data.synth.writing import BROKEN, RawWriter

WRITERS: dict[str, RawWriter] = {"ntu": NtuWriter(), "pku-mmd": PkuMmdWriter()}
"""By raw family."""


@dataclass
class SynthReport:
    path: Path
    files: int = 0
    clips: int = 0
    broken: list[str] = field(default_factory=list)


def synthesize(
    out: str | Path,
    dataset: str | DatasetSpec,
    *,
    classes: int | None = None,
    subjects: int = 8,
    replications: int = 2,
    broken: int = len(BROKEN),
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SynthReport:
    """Write synthetic raw files of a dataset of the NTU or PKU-MMD family, and `synthetic.json` in each
    folder, by which conversion knows them for what they are.

    Args:
        out: folder to fill; must be empty or absent.
        classes: how many of the dataset's classes, spread over its list; all by default.
        subjects: people, drawn alternately from the train and the test side of xsub.
        replications: how often each person does each action; three cameras see each time.
        broken: damaged files beside the good ones.
        seed: everything follows from it.
    Raises: UsageError.
    """
    spec = dataset if isinstance(dataset, DatasetSpec) else load_spec(dataset)
    if spec.raw not in WRITERS:
        raise UsageError(
            f"synthetic files are made for the families {' and '.join(WRITERS)}, and {spec.name} is of the "
            f"family {spec.raw}"
        )
    writer = WRITERS[spec.raw]
    count = len(spec.classes) if classes is None else classes
    if not 1 <= count <= len(spec.classes):
        raise UsageError(f"{spec.name} has 1 to {len(spec.classes)} classes to synthesise, not {count}")
    people = _people(spec)
    if not 1 <= subjects <= len(people):
        raise UsageError(f"{spec.name} has 1 to {len(people)} subjects to synthesise, not {subjects}")
    if replications < 1 or broken < 0:
        raise UsageError("replications is 1 or more, broken 0 or more")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; name a new one")
    actions = [spec.class_ids[int(i)] for i in np.linspace(0, len(spec.classes) - 1, count).round()]
    jobs = [
        (person, replication) for person in people[:subjects] for replication in range(1, replications + 1)
    ]
    report = SynthReport(out)
    # before the first clip, so that a folder left unfinished is marked; each may be converted or packed alone
    for folder in (out, *(out / name for name in writer.folders)):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SYNTHETIC_MARK, _mark(spec, seed))
    parallel = joblib.Parallel(n_jobs=workers or -1, return_as="generator")
    # joblib keeps its processes, which stay in the folder that they were begun in
    results = parallel(
        joblib.delayed(writer.write)(out.absolute(), spec, actions, person, rep, seed) for person, rep in jobs
    )
    for done, (files, clips) in enumerate(results, 1):
        report.files, report.clips = report.files + files, report.clips + clips
        if progress:
            progress(done, len(jobs))
    writer.finish(out, spec)
    report.broken = [writer.break_file(out, spec, BROKEN[i % len(BROKEN)], i, actions) for i in range(broken)]
    report.files += broken
    return report


def _mark(spec: DatasetSpec, seed: int) -> dict[str, object]:
    return {
        "synthetic": True,
        "what": f"invented motion in the raw layout of {spec.title}, never to be shown as real data",
        "generator": f"amr-skeleton {version('amr-skeleton')}",
        "dataset": spec.name,
        "seed": seed,
    }


def _people(spec: DatasetSpec) -> list[int]:
    rule = spec.protocols.get("xsub")
    if rule is None or rule.by != "subject":
        return list(range(1, 13))
    train, test = [int(p) for p in rule.train], [int(p) for p in rule.test]
    pairs = [p for pair in zip(train, test, strict=False) for p in pair]
    return pairs + [p for p in train + test if p not in pairs]
