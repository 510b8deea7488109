"""Procedural raw files in the true raw layouts, for the demo, the tests and benchmarks. Invented motion,
never to be shown as real data: a mark in each folder says so, and what is made from it says so too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import numpy.typing as npt

from amr_data.errors import UsageError
from amr_data.files import SYNTHETIC_MARK, write_json
from amr_data.specs import DatasetSpec, load_spec
from amr_data.synth.motion import F64, Subject, ghost, perform, sense, to_camera

_ORIENTATION = np.array([[3.0, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8]])
_JOINT_LINE = " ".join(["%.7g"] * 11) + " %d\r\n"
PKU_FOLDERS = ("skeleton", "label")
BROKEN = ("truncated", "empty", "binary", "joint_count", "nan", "header")


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
    if spec.raw not in ("ntu", "pku-mmd"):
        raise UsageError(f"synthetic files are made for the ntu and pku-mmd families, not for {spec.raw}")
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
    make = _ntu_files if spec.raw == "ntu" else _pku_files
    jobs = [
        (person, replication) for person in people[:subjects] for replication in range(1, replications + 1)
    ]
    report = SynthReport(out)
    # before the first clip, so that a folder left unfinished is marked; each may be converted or packed alone
    for folder in (out, *(out / name for name in (PKU_FOLDERS if spec.raw == "pku-mmd" else ()))):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SYNTHETIC_MARK, _mark(spec, seed))
    parallel = joblib.Parallel(n_jobs=workers or -1, return_as="generator")
    results = parallel(joblib.delayed(make)(out, spec, actions, person, rep, seed) for person, rep in jobs)
    for done, (files, clips) in enumerate(results, 1):
        report.files, report.clips = report.files + files, report.clips + clips
        if progress:
            progress(done, len(jobs))
    if spec.raw == "pku-mmd":
        _pku_splits(out, spec)
    report.broken = [_break_file(out, spec, BROKEN[i % len(BROKEN)], i, actions) for i in range(broken)]
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


def ntu_text(bodies: list[list[tuple[str, F64, npt.NDArray[np.int64]]]]) -> str:
    """A .skeleton file from its frames: for each a list of (body id, (V, 3) metres, (V,) tracking states)."""
    out = [f"{len(bodies)}\r\n"]
    for frame in bodies:
        out.append(f"{len(frame)}\r\n")
        for body_id, joints, states in frame:
            out.append(f"{body_id} 0 1 1 1 1 0 0.01 -0.02 2\r\n{len(joints)}\r\n")
            depth = np.maximum(joints[:, 2], 0.1)
            image = joints[:, :2] / depth[:, None] * (1, -1)
            columns = [joints, 256 + 365 * image[:, :1], 212 + 365 * image[:, 1:], 960 + 1060 * image[:, :1]]
            turn = np.sin(
                joints @ _ORIENTATION
            )  # as many digits as real orientations have; nothing reads them
            turn /= np.linalg.norm(turn, axis=1, keepdims=True)
            columns += [540 + 1060 * image[:, 1:], turn, states[:, None].astype(np.float64)]
            rows = np.concatenate(columns, axis=1).tolist()
            out += [_JOINT_LINE % tuple(r) for r in rows]
    return "".join(out)


def _people(spec: DatasetSpec) -> list[int]:
    rule = spec.protocols.get("xsub")
    if rule is None or rule.by != "subject":
        return list(range(1, 13))
    train, test = [int(p) for p in rule.train], [int(p) for p in rule.test]
    pairs = [p for pair in zip(train, test, strict=False) for p in pair]
    return pairs + [p for p in train + test if p not in pairs]


def _performances(
    spec: DatasetSpec, action: int, person: int, replication: int, seed: int
) -> tuple[list[F64], float, np.random.Generator]:
    """One or two people's motion in the performer's space, and the heading; the same for every camera."""
    rng = np.random.default_rng([seed, 2, action, person, replication])
    first = perform(spec.skeleton, action, 0, Subject.draw(person, seed), rng)
    bodies = [first + np.array([0, 0, 0.02]) * np.arange(len(first))[:, None, None] * 0.05]
    if action in spec.mutual:
        second = perform(spec.skeleton, action, 1, Subject.draw(person + 500, seed), rng)
        frames = min(len(first), len(second))
        facing = second[:frames] * (-1, 1, -1) + (0, 0, -0.9)
        bodies = [bodies[0][:frames], facing]
    return bodies, float(rng.normal(0, 0.25)), rng


def _ntu_files(
    out: Path, spec: DatasetSpec, actions: list[int], person: int, replication: int, seed: int
) -> tuple[int, int]:
    for action in actions:
        bodies, heading, rng = _performances(spec, action, person, replication, seed)
        for camera in (1, 2, 3):
            seen = [
                to_camera(b, camera, heading, (rng.normal(0, 0.2), -0.1, 3.0 + rng.normal(0, 0.2)))
                for b in bodies
            ]
            name = f"S{1 + person % 17:03d}C{camera:03d}P{person:03d}R{replication:03d}A{action:03d}.skeleton"
            (out / name).write_text(
                ntu_text(list(_ntu_frames(spec, seen, rng))), encoding="ascii", newline=""
            )
    return 3 * len(actions), 3 * len(actions)


def _ntu_frames(
    spec: DatasetSpec, bodies: list[F64], rng: np.random.Generator
) -> Iterator[list[tuple[str, F64, npt.NDArray[np.int64]]]]:
    """Add what real files have: empty frames, an id that changes midway, ghosts, short visitors."""
    frames = len(bodies[0])
    base = 72057594037900000 + int(rng.integers(90000))
    tracks = []
    for index, body in enumerate(bodies):
        joints, states = sense(body, rng)
        ids = np.full(frames, base + index)
        if rng.random() < 0.08:
            ids[int(rng.integers(frames // 3, 2 * frames // 3)) :] = base + 10 + index
        tracks.append((ids, joints, states, np.ones(frames, bool)))
    if rng.random() < 0.12:
        there = np.zeros(frames, bool)
        start, length = int(rng.integers(frames // 2)), int(rng.choice([6, frames // 2]))
        there[start : start + length] = True
        joints, states = sense(ghost(spec.skeleton, frames, rng), rng)
        tracks.append((np.full(frames, base + 50), joints, states, there))
    empty = int(rng.integers(1, 4)) if rng.random() < 0.08 else 0
    for _ in range(empty):
        yield []
    for t in range(frames):
        yield [(str(ids[t]), joints[t], states[t]) for ids, joints, states, there in tracks if there[t]]


def _pku_files(
    out: Path, spec: DatasetSpec, actions: list[int], person: int, replication: int, seed: int
) -> tuple[int, int]:
    """One untrimmed performance a person and replication, seen by three cameras."""
    rng = np.random.default_rng([seed, 3, person, replication])
    order = [int(a) for a in rng.permutation(actions)]
    rows, label_rows, at = [], [], 0
    for action in order:
        bodies, _, clip_rng = _performances(spec, action, person, replication, seed)
        pause = int(clip_rng.integers(15, 45))
        frames = len(bodies[0])
        both = np.full((pause + frames, 2, len(spec.skeleton.joints), 3), np.nan)
        both[:pause, 0] = bodies[0][:1]
        for slot, body in enumerate(bodies):
            both[pause:, slot] = body
        label_rows.append(f"{action},{at + pause},{at + pause + frames},{clip_rng.integers(1, 3)}")
        rows.append(both)
        at += pause + frames
    video = np.concatenate(rows)
    for camera in "LMR":
        name = (
            f"A{replication:02d}N{person:02d}-{camera}"
            if "setup" in spec.naming
            else f"{person * 50 + replication:04d}-{camera}"
        )
        seen = to_camera(video.reshape(len(video), -1, 3), spec.camera_codes[camera], 0.1, (0, -0.1, 3.0))
        seen = np.nan_to_num(seen + rng.normal(0, 0.002, seen.shape)).reshape(len(video), -1)
        texts = (
            "".join(" ".join("%.6f" % v for v in row) + "\n" for row in seen.tolist()),  # noqa: UP031
            "\n".join(label_rows) + "\n",
        )
        for folder, text in zip(PKU_FOLDERS, texts, strict=True):
            (out / folder / f"{name}.txt").write_text(text, encoding="ascii")
    return 6, 3 * len(order)


def _pku_splits(out: Path, spec: DatasetSpec) -> None:
    """The split files that come with the data, in the data's own spelling, from the spec's rules."""
    names = sorted(p.stem for p in (out / "label").glob("*.txt"))
    for rule in spec.protocols.values():
        if rule.by == "video":
            train = names[: len(names) * 3 // 4]
            test = names[len(train) :]
        else:
            side = rule.assign([(spec.parse_name(n) or {})[rule.by] for n in names])
            train, test = ([n for n, s in zip(names, side, strict=True) if s == part] for part in (0, 1))
        text = f"Training videos: \n{', '.join(train)}\nValidataion videos: \n{', '.join(test)},\n"
        (out / rule.split_files[0]).write_text(text, encoding="ascii")


def _break_file(out: Path, spec: DatasetSpec, kind: str, index: int, actions: list[int]) -> str:
    """Damage a copy of a good file under a new name."""
    if spec.raw == "ntu":
        good = sorted(out.glob("*.skeleton"))[0]
        path = (
            out / f"S017C001P{40 - index % 40:03d}R{90 + index // 40:03d}"
            f"A{actions[index % len(actions)]:03d}.skeleton"
        )
    else:
        good = sorted((out / "skeleton").glob("*.txt"))[0]
        stem = f"A{90 + index:02d}N01-L" if "setup" in spec.naming else f"{9900 + index}-L"
        path = out / "skeleton" / f"{stem}.txt"
        (out / "label" / f"{stem}.txt").write_text(f"{actions[0]},10,40,2\n", encoding="ascii")
    data = good.read_bytes()
    lines = data.split(b"\n")
    at = next(
        i for i, line in enumerate(lines) if i >= 20 and line.count(b" ") >= 11
    )  # a line of coordinates
    with_nan = b"\n".join([*lines[:at], b"nan " + lines[at].split(b" ", 1)[1], *lines[at + 1 :]])
    short = data.replace(b"\n25\r", b"\n24\r") if spec.raw == "ntu" else b" ".join(data.split(b" ")[:-10])
    header = b"1000000000\r\n" + data.split(b"\n", 1)[1]
    if spec.raw == "pku-mmd" and kind == "header":
        header = data  # PKU-MMD has no header; its absurd numbers stand in the label file
        (out / "label" / path.name).write_text(f"{actions[0]},1000000000,2000000000,2\n", encoding="ascii")
    damaged = {
        "truncated": data[: len(data) * 2 // 3 + 7],
        "empty": b"",
        "binary": bytes(range(256)) * 16,
        "joint_count": short,
        "nan": with_nan,
        "header": header,
    }
    path.write_bytes(damaged[kind])
    return path.name
