"""Synthetic PKU-MMD videos with their label files and splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amr_data.specs import DatasetSpec
from amr_data.synth.motion import to_camera
from amr_data.synth.writing import RawWriter, damaged, performances


class PkuMmdWriter(RawWriter):
    folders = ("skeleton", "label")

    def write(
        self, out: Path, spec: DatasetSpec, actions: list[int], person: int, replication: int, seed: int
    ) -> tuple[int, int]:
        """One untrimmed performance a person and replication, seen by three cameras."""
        rng = np.random.default_rng([seed, 3, person, replication])
        order = [int(a) for a in rng.permutation(actions)]
        rows, label_rows, at = [], [], 0
        for action in order:
            bodies, _, clip_rng = performances(spec, action, person, replication, seed)
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
                if "setup" in (spec.naming or "")
                else f"{person * 50 + replication:04d}-{camera}"
            )
            seen = to_camera(video.reshape(len(video), -1, 3), spec.camera_codes[camera], 0.1, (0, -0.1, 3.0))
            seen = np.nan_to_num(seen + rng.normal(0, 0.002, seen.shape)).reshape(len(video), -1)
            texts = (
                "".join(" ".join("%.6f" % v for v in row) + "\n" for row in seen.tolist()),  # noqa: UP031
                "\n".join(label_rows) + "\n",
            )
            for folder, text in zip(self.folders, texts, strict=True):
                (out / folder / f"{name}.txt").write_text(text, encoding="ascii")
        return 6, 3 * len(order)

    def finish(self, out: Path, spec: DatasetSpec) -> None:
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

    def break_file(self, out: Path, spec: DatasetSpec, kind: str, index: int, actions: list[int]) -> str:
        data = sorted((out / "skeleton").glob("*.txt"))[0].read_bytes()
        stem = f"A{90 + index:02d}N01-L" if "setup" in (spec.naming or "") else f"{9900 + index}-L"
        # a video has no header; absurd numbers stand in the label file
        row = "1000000000,2000000000" if kind == "header" else "10,40"
        (out / "label" / f"{stem}.txt").write_text(f"{actions[0]},{row},2\n", encoding="ascii")
        path = out / "skeleton" / f"{stem}.txt"
        path.write_bytes(damaged(data, kind, b" ".join(data.split(b" ")[:-10]), data))
        return path.name
