"""Which clips train and which judge: the parts of a split, and the validation part, on which choices are
made, so that the test part is looked at for the final figures alone.

The validation part follows from the split and the training clips, never from a test clip. Where the split
lists one, it is that. Otherwise training subjects are held out, whatever the split goes by: every fifth of
the sorted training subjects, and the last where there are fewer than five.

The part `subjects` is the whole training part: the clips of each subject are judged by what those of the
others teach a probe of frozen features, so that choices on small sets rest on all of their clips.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from amr_data import ALL, NO_LABEL, ShardDataset, UsageError

Clips = npt.NDArray[np.int64]
TEST, VALIDATION, SUBJECTS = "test", "validation", "subjects"
HELD_EVERY = 5
NOBODY = -1
"""The subject of a clip of which it is not known."""


def parts_of(
    dataset: ShardDataset, split: str, part: str = TEST, excluded: Collection[str] = ()
) -> list[Clips]:
    """Indices of the labelled clips that train and of those that judge.

    part : that judges, 'test', 'validation' or 'subjects'; the training clips of the second are without it,
        those of the third are the same.
    excluded : names of clips that train nothing; what judges stays as it is, so that figures stay comparable.
    Raises: UsageError where either has none, or no clips can be held out.
    """
    labelled = dataset.clips["label"] != NO_LABEL
    parts = []
    training = training_clips(dataset, split, part, excluded)
    judging = judging_clips(dataset, split, part)
    if part == SUBJECTS:
        _check_others(dataset, split, judging)
        training = training[np.isin(training, judging)]
    for name, clips in (("train", training), (part, judging)):
        if not labelled[clips].any():
            what = "labelled " if len(clips) else ""
            others = [known for known in dataset.spec.protocols if known != split]
            instead = f"judge by another split ({', '.join(others)}), or " if others else ""
            raise UsageError(
                f"{dataset.path} has no {what}{name} clip in the split {split}, so nothing can be judged by "
                f"it; {instead}a run trains without judging by evaluation.protocols=[]"
            )
        parts.append(clips[labelled[clips]])
    if part == SUBJECTS:
        for clips in parts:
            _check_others(dataset, split, clips)
    return parts


def training_clips(
    dataset: ShardDataset, split: str, part: str = TEST, excluded: Collection[str] = ()
) -> Clips:
    """Indices of a split's train clips, with or without a label, but for those that are excluded by their
    names. Where `part` is 'validation', those of whom nothing is held out. Raises: UsageError where there is
    none."""
    clips = dataset.split(split, "train")
    if not len(clips):
        raise UsageError(f"{dataset.path} has no train clip in the split {split}")
    if excluded:
        left_out = set(excluded)
        clips = clips[[dataset.names[i] not in left_out for i in clips.tolist()]]
        if not len(clips):
            raise UsageError(f"data.exclude leaves no train clip of {dataset.path} in the split {split}")
    if part != VALIDATION or _listed(dataset, split):
        return clips
    subject = dataset.clips["subject"][clips]
    held = held_subjects(dataset, split)
    # a clip of nobody knows whom may be one of theirs
    return clips[~np.isin(subject, [*held, NOBODY])]


def judging_clips(dataset: ShardDataset, split: str, part: str) -> Clips:
    """Indices of a split's test clips, or of those that choices are made on, see the module; with or without
    a label. Raises: UsageError where there is no such part."""
    if part == TEST:
        return dataset.split(split, TEST)
    if part == SUBJECTS:
        clips = dataset.split(split, "train")
        return clips[~np.isin(dataset.clips["subject"][clips], [NOBODY])]
    if _listed(dataset, split):
        return dataset.split(split, VALIDATION)
    clips = dataset.split(split, "train")
    return clips[np.isin(dataset.clips["subject"][clips], held_subjects(dataset, split))]


def held_subjects(dataset: ShardDataset, split: str) -> list[int]:
    """The training subjects that are held out. Raises: UsageError where fewer than two are known."""
    subjects = _people(dataset, dataset.split(split, "train"))
    if len(subjects) < 2:
        raise UsageError(
            f"evaluation.part=validation holds out training subjects, and {dataset.path} has not two in the "
            f"split {split}: {_who(subjects)}; list a validation part in the split of the dataset's spec"
        )
    return subjects[HELD_EVERY - 1 :: HELD_EVERY] or subjects[-1:]


def _check_others(dataset: ShardDataset, split: str, clips: Clips) -> None:
    """Raises UsageError where clips are of fewer than two subjects that are known."""
    subjects = _people(dataset, clips)
    if len(subjects) < 2:
        raise UsageError(
            f"evaluation.part=subjects judges each by the others' clips, and {dataset.path} has not two in "
            f"the split {split}: {_who(subjects)}" + _by_test(dataset, split)
        )


def _by_test(dataset: ShardDataset, split: str) -> str:
    """The way out where the test part can judge."""
    return "; use evaluation.part=test" if len(dataset.split(split, "test")) else ""


def _people(dataset: ShardDataset, clips: Clips) -> list[int]:
    """The subjects of clips that are known, sorted."""
    known = np.unique(dataset.clips["subject"][clips])
    return [int(subject) for subject in known if subject != NOBODY]


def _who(subjects: Sequence[int]) -> str:
    return f"the only one is {subjects[0]}" if subjects else "no clip says whose it is"


def only_split(dataset: ShardDataset, split: str | None) -> str:
    """The split that is asked for, or the dataset's only one; `all` where it has none. Raises: UsageError
    where it has several, or not the one that is asked for."""
    names: Sequence[str] = list(dataset.spec.protocols)
    if split is not None:
        dataset.membership(split)
        return split
    if len(names) > 1:
        raise UsageError(
            f"{dataset.path} has several train/test splits: {', '.join(names)}; say which, as in "
            f"--data {dataset.path}:{names[0]}"
        )
    return names[0] if names else ALL


def _listed(dataset: ShardDataset, split: str) -> bool:
    rule = dataset.spec.protocols.get(split)
    return rule is not None and bool(rule.validation)
