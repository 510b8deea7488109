"""Recordings as readers give them where they are kept whole: with the intervals that labels name, and the
clips that these cut out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from amr_data.clip import BodyTrack, Clip
from amr_data.errors import Reject, RejectError
from amr_data.recording import Interval


@dataclass(frozen=True)
class Cut:
    """A clip that is to be cut from a recording. first, end : frames of it, `end` excluded.  source : where
    the label stands.  subject : where the label says it, otherwise the recording's."""

    name: str
    label: int
    first: int
    end: int
    source: str
    subject: int | None = None
    dropped: tuple[str, ...] = ()


@dataclass
class Untrimmed:
    """whole : the recording, its frames counted from 0; `start` is the file's number of its first.
    intervals : of all labels that can be read, whether a clip comes of them or not.
    cuts : in the order of the labels, rejects between them.
    free : bodies have no places of their own in a recording; those of a clip are numbered as they come.
    """

    whole: Clip
    intervals: list[Interval]
    cuts: list[Cut | Reject] = field(default_factory=list)
    free: bool = False

    def clips(self) -> Iterator[Clip | Reject]:
        """The clips as they are before a recipe is applied to them."""
        for cut in self.cuts:
            if isinstance(cut, Reject):
                yield cut
                continue
            try:
                yield self._clip(cut)
            except RejectError as error:
                yield Reject(cut.source, error.reason, error.detail)

    def _clip(self, cut: Cut) -> Clip:
        tracks: list[BodyTrack] = []
        for track in self.whole.tracks:
            low, high = np.searchsorted(track.frames, [cut.first, cut.end])
            if low < high:
                part = track.take(np.arange(low, high))
                slot = len(tracks) if self.free else track.slot
                tracks.append(part.changed(frames=part.frames - cut.first, slot=slot))
        if not tracks:
            raise RejectError("no_body", f"frames [{cut.first}, {cut.end}) hold no body")
        return self.whole.changed(
            name=cut.name,
            label=cut.label,
            frames=cut.end - cut.first,
            tracks=tracks,
            subject=self.whole.subject if cut.subject is None else cut.subject,
            video=self.whole.name,
            source=cut.source,
            start=self.whole.start + cut.first,
            dropped=list(cut.dropped),
        )


def side_by_side(tracks: list[BodyTrack]) -> list[BodyTrack]:
    """Bodies that come and go as few places as they need: each takes the first where nobody is while it is
    there."""
    places: list[int] = []
    """Of each place the frame after its last body."""
    out = []
    for track in sorted(tracks, key=lambda t: int(t.frames[0])):
        first, last = int(track.frames[0]), int(track.frames[-1])
        slot = next((i for i, end in enumerate(places) if end <= first), len(places))
        places[slot : slot + 1] = [last + 1]
        out.append((track, slot))
    slots = {id(track): slot for track, slot in out}
    return [track.changed(slot=slots[id(track)]) for track in tracks]
