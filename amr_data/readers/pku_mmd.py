"""PKU-MMD I and II: untrimmed videos as text (150 numbers a frame, two bodies) and label files that say which
frames are which action.

Skeleton and label files share their names, and their content tells them apart; where that is of neither kind,
'label' in the name of the folder (or, at the top, of the archive) does. Every label row becomes a clip or a
reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from amr_data.clip import Clip
from amr_data.compiling import compiled
from amr_data.errors import Reject, RejectError, UsageError
from amr_data.readers.base import Discovery, Unit, files_ending, path_names, unusable_detail
from amr_data.readers.family import HEAD_BYTES, Family, FamilyOptions
from amr_data.readers.pku_mmd_clips import BODIES, LabelRow, cut, untrimmed
from amr_data.readers.sources import MAX_MEMBER_BYTES, MAX_RECORDING_BYTES, Member, RawSource
from amr_data.readers.text import parse_columns, parse_lines
from amr_data.readers.untrimmed import Untrimmed
from amr_data.specs import NO_LABEL, DatasetSpec, Protocol

LABEL_ROW = re.compile(rb"\s*[-+.0-9eE]+\s*(,\s*[-+.0-9eE]+\s*){2,3}")
LABEL_FIELDS = 4
PIECE_BYTES = 32 << 20


class PkuMmdOptions(FamilyOptions):
    frame_base: int = Field(
        0,
        ge=0,
        le=1,
        strict=True,
        description="PKU-MMD label rows: 0 reads [start, end), 1 reads [start-1, end).",
    )


class PkuMmdFamily(Family):
    name = "pku-mmd"
    scanner = "amr_data.readers.scanning"
    title = "PKU-MMD videos with label files"
    endings = (".txt",)
    options = PkuMmdOptions

    def check(self, spec: DatasetSpec) -> None:
        super().check(spec.changed(classes={}, mutual=[]))  # the class stands in the label row

    def sniff(self, head: bytes, filename: str) -> bool:
        """A line of as many numbers as two bodies have, or a row of a label file."""
        first = head.split(b"\n", 1)[0]
        return (len(first.split()) == BODIES * 25 * 3 and _is_number(first.split()[0])) or bool(
            re.fullmatch(rb"\s*-?[0-9]+(\s*,\s*-?[0-9]+){2,3}\s*", first)
        )

    def matches(self, source: RawSource, spec: DatasetSpec) -> tuple[int, int]:
        """Split files stand beside skeleton and label files, and count as neither."""
        split_files = {f.lower() for rule in spec.protocols.values() for f in rule.split_files}
        files = [m for m in self.files(source) if m.filename.lower() not in split_files]
        return sum(spec.parse_name(m.stem) is not None for m in files), len(files)

    def centres(self, recipe: str, spec: DatasetSpec) -> bool:
        """The reference takes PKU-MMD clips where they stand."""
        return recipe == "amr"

    def discover(self, source: RawSource, spec: DatasetSpec, options: FamilyOptions) -> Discovery:
        if spec.naming is None:
            return self._videos(source, spec)
        found = Discovery()
        skeletons: dict[str, Member] = {}
        labels: dict[str, Member] = {}
        unusable = set(spec.unusable)
        split_names = {f.lower(): name for name, p in spec.protocols.items() for f in p.split_files}
        for member in files_ending(source, self.endings):
            if member.filename.lower() in split_names:
                name = split_names[member.filename.lower()]
                found.protocols[name] = _protocol(source, member, spec, name)
                continue
            found.sources += 1
            shown = source.shown(member)
            if member.refused:  # it takes nobody's name
                found.rejects.append(Reject(shown, member.reason, member.refused))
                continue
            kind = labels if _is_label_file(source, member) else skeletons
            if spec.parse_name(member.stem) is None:
                found.rejects.append(Reject(shown, "name", f"expected {spec.named_like}"))
            elif member.stem in kind:
                found.rejects.append(
                    Reject(
                        shown, "duplicate", f"{member.stem} was already taken from another folder or archive"
                    )
                )
            else:
                kind[member.stem] = member
        for name in sorted(skeletons.keys() | labels.keys()):
            if name in unusable:
                shown = source.shown(skeletons.get(name) or labels[name])
                found.rejects.append(Reject(shown, "listed_unusable", unusable_detail(spec)))
            elif name not in labels:
                detail = f"no label file named {name}.txt, of rows action,start,end,confidence"
                found.rejects.append(Reject(source.shown(skeletons[name]), "no_label", detail))
            else:
                found.units.append(
                    Unit(name, (labels[name], *([skeletons[name]] if name in skeletons else [])))
                )
        return found

    def _videos(self, source: RawSource, spec: DatasetSpec) -> Discovery:
        """Every video as one clip without a label. Beside videos, what is neither one nor a label file is
        told; where there is no video, the files are of another kind."""
        columns = BODIES * len(spec.skeleton.joints) * 3
        files = {m: _columns(source, m) for m in files_ending(source, self.endings)}
        members = [member for member, found in files.items() if found == columns]
        names = path_names(source, spec, members)
        units = [Unit(name, (member,)) for name, member in zip(names, members, strict=True)]
        rejects = [
            Reject(source.shown(m), "not_skeleton", f"{found} numbers in its first line, expected {columns}")
            for m, found in files.items()
            if units and found != columns and not _is_label_file(source, m)
        ]
        return Discovery(units, rejects=rejects, sources=len(units) + len(rejects))

    def read(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: PkuMmdOptions
    ) -> Iterator[Clip | Reject]:
        for unit in units:
            if spec.naming is None:
                yield self._whole(source, unit, spec)
            else:
                yield from self._labelled(source, unit, spec, options.frame_base)

    def _whole(self, source: RawSource, unit: Unit, spec: DatasetSpec) -> Clip | Reject:
        shown = source.shown(unit.members[0])
        try:
            video = parse_video(source.read(unit.members[0]), len(spec.skeleton.joints))
            clip = cut(unit.name, unit.name, spec, video, NO_LABEL, 0, len(video))
        except RejectError as error:
            return Reject(shown, error.reason, error.detail)
        clip.source = shown
        return clip

    def _labelled(
        self, source: RawSource, unit: Unit, spec: DatasetSpec, frame_base: int
    ) -> Iterator[Clip | Reject]:
        rows, video = self._opened(source, unit, spec)
        for row in rows:
            if isinstance(row, Reject):
                yield row
                continue
            try:
                if isinstance(video, RejectError):
                    raise video
                clip = cut(row.name, unit.name, spec, video, row.label, row.start - frame_base, row.end)
                clip.source = row.shown
                yield clip
            except RejectError as error:
                yield Reject(row.shown, error.reason, error.detail)

    def keeps_recordings(self, spec: DatasetSpec) -> bool:
        return True

    def untrimmed(
        self, source: RawSource, units: Sequence[Unit], spec: DatasetSpec, options: PkuMmdOptions
    ) -> Iterator[Untrimmed | Reject]:
        for unit in units:
            shown = source.shown(unit.members[-1])
            rows: list[LabelRow | Reject] = []
            if spec.naming is not None:
                rows, video = self._opened(source, unit, spec, MAX_RECORDING_BYTES)
            else:
                video = self._video(source, unit, spec, MAX_RECORDING_BYTES)
                end = 1 if isinstance(video, RejectError) else len(video)
                rows.append(LabelRow(unit.name, NO_LABEL, options.frame_base, end, shown))
            try:
                if isinstance(video, RejectError):
                    raise video
                found = untrimmed(unit.name, spec, video, rows, options.frame_base)
                found.whole.source = shown
            except RejectError as error:
                for row in rows:
                    yield row if isinstance(row, Reject) else Reject(row.shown, error.reason, error.detail)
                continue
            del video
            yield found

    def _opened(
        self, source: RawSource, unit: Unit, spec: DatasetSpec, most: int = MAX_MEMBER_BYTES
    ) -> tuple[list[LabelRow | Reject], npt.NDArray[np.float64] | RejectError]:
        """The rows of a unit's label file, and its video or what is wrong with it."""
        shown = source.shown(unit.members[0])
        try:
            lines = source.read(unit.members[0]).splitlines()
        except RejectError as error:
            return [Reject(shown, error.reason, error.detail)], error
        rows: list[LabelRow | Reject] = []
        unusable = set(spec.unusable)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            name, where = f"{unit.name}_{number:03d}", f"{shown}:{number}"
            if name in unusable:
                rows.append(Reject(where, "listed_unusable", unusable_detail(spec)))
                continue
            try:
                rows.append(LabelRow(name, *parse_label_row(line, spec), where))
            except RejectError as error:
                rows.append(Reject(where, error.reason, error.detail))
        if not rows:
            rows.append(Reject(shown, "empty", "the label file has no row"))
        return rows, self._video(source, unit, spec, most)

    def _video(
        self, source: RawSource, unit: Unit, spec: DatasetSpec, most: int = MAX_MEMBER_BYTES
    ) -> npt.NDArray[np.float64] | RejectError:
        labelled = spec.naming is not None
        if labelled and len(unit.members) < 2:
            return RejectError("no_skeleton", f"no skeleton file named {unit.name}.txt")
        try:
            return parse_long_video(source.read(unit.members[-1], most), len(spec.skeleton.joints))
        except RejectError as error:
            if not labelled:
                return error
            return RejectError(error.reason, f"{source.shown(unit.members[-1])}: {error.detail}")


def parse_long_video(data: bytes, joints: int) -> npt.NDArray[np.float64]:
    """The same as `parse_video`, some thousand lines at a time, so that a recording of hours takes little
    more memory than its numbers do."""
    parts: list[npt.NDArray[np.float64]] = []
    low = lines = 0
    while low < len(data):
        high = len(data) if len(data) - low <= PIECE_BYTES else data.rfind(b"\n", low, low + PIECE_BYTES) + 1
        high = high if high > low else len(data)  # a line as long as that is none
        piece = data[low:high]
        if parts and not piece.strip():
            break
        try:
            if lines != sum(map(len, parts)):  # a piece ended with lines that are empty
                raise RejectError("joint_count", "the line before is empty")
            parts.append(parse_video(piece, joints))
        except RejectError as error:
            where = f"counted from line {lines + 1:,}: " if lines else ""
            raise RejectError(error.reason, where + error.detail) from None
        low, lines = high, lines + piece.count(b"\n")
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [parse_video(data, joints)])


def parse_video(data: bytes, joints: int) -> npt.NDArray[np.float64]:
    """A whole video. Returns (frames, 2, V, 3) float64 metres, zeros where a body is absent."""
    columns = BODIES * joints * 3
    scanning = compiled(PkuMmdFamily.scanner)
    scanned = scanning.scan_rows(data, columns) if scanning else None
    if scanned is not None:
        return np.asarray(scanned.reshape(len(scanned), BODIES, joints, 3))
    lines = data.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise RejectError("empty", "no frame in the file")
    first = lines[0].split()
    if not first or not _is_number(first[0]):
        raise RejectError("not_skeleton", "line 1 does not begin with a number")
    if len(first) != columns:
        raise RejectError(
            "joint_count",
            f"line 1 has {len(first)} numbers, {BODIES} bodies of {joints} joints need {columns}",
        )
    lines = [line.rstrip() for line in lines]
    values = parse_columns(b"\n".join(lines), len(lines), columns, range(columns))
    if values is None:
        values = parse_lines(lines, range(len(lines)), columns, range(columns))
    return values.reshape(len(lines), BODIES, joints, 3)


def parse_label_row(line: bytes, spec: DatasetSpec) -> tuple[int, int, int]:
    """Label (0-based), start and end as they stand in the row `action,start,end[,confidence]`."""
    shown = line[:60].decode("ascii", "replace").strip()
    fields = line.strip().split(b",")
    if len(fields) not in (3, 4) or any(
        len(f) > 12 or not re.fullmatch(rb"\s*-?[0-9]+(\.0*)?\s*", f) for f in fields
    ):
        raise RejectError("label_syntax", f"expected action,start,end,confidence, found {shown!r}")
    action, start, end = (int(float(f)) for f in fields[:3])
    label = spec.label(action)
    if label is None:
        raise RejectError("unknown_class", f"action {action} is not in {spec.name} (row {shown!r})")
    if end <= start:
        raise RejectError("interval", f"the end is not after the start (row {shown!r})")
    return label, start, end


def parse_split_file(text: str) -> tuple[list[str], list[str]]:
    """Training and validation video names. Headings are spelt as they come ('Validataion videos:'); commas,
    spaces and line ends may vary."""
    pieces = re.split(r"(?i)\b(train\w*|val\w*|test\w*)\s+videos?\s*:?", text)
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for heading, body in zip(pieces[1::2], pieces[2::2], strict=True):
        key = "train" if heading.lower().startswith("train") else "test"
        parts[key] += [n for n in re.split(r"[\s,]+", body) if n]
    return parts["train"], parts["test"]


def _protocol(source: RawSource, member: Member, spec: DatasetSpec, name: str) -> Protocol:
    try:
        train, test = parse_split_file(source.read(member).decode("utf-8", "replace"))
        if not train or not test:
            raise RejectError("not_skeleton", "no 'Training videos:' and 'Validation videos:' lists in it")
        return Protocol(by="video", train=train, test=test, split_files=spec.protocols[name].split_files)
    except (RejectError, ValueError) as error:
        raise UsageError(
            f"split file {source.shown(member)}: {error}; mend it or take it out of the folder"
        ) from None


def _is_label_file(source: RawSource, member: Member) -> bool:
    """By its first line of either kind: three or four numbers between commas, or a skeleton's many columns. A
    file without such a line goes by the name of its folder, which is the source's own where it lies at the
    top."""
    try:
        head = source.head(member, HEAD_BYTES)
    except RejectError:  # it is rejected when it is read
        head = b""
    for line in head.splitlines():
        if LABEL_ROW.fullmatch(line):
            return True
        if len(line.split()) > LABEL_FIELDS or line.count(b",") > LABEL_FIELDS:
            return False
    folder = member.path.rpartition("/")[0].rpartition("/")[2] or source.names[member.source]
    return "label" in folder.lower()


def _columns(source: RawSource, member: Member) -> int:
    """Numbers in a file's first line, 0 where it has none."""
    try:
        first = source.head(member, 1 << 14).split(b"\n", 1)[0].split()
    except RejectError:
        return 0
    return len(first) if first and _is_number(first[0]) else 0


def _is_number(text: bytes) -> bool:
    try:
        float(text[:64])
    except ValueError:
        return False
    return True
