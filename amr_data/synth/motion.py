"""A jointed body that moves: forward kinematics with fixed bone lengths, and action programmes drawn from the
class number.

Classes differ in which joints move, how fast, how far and in which order; subjects in build and tempo.
Invented, and only ever a stand-in for real recordings in the demo and the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from amr_data.errors import UsageError
from amr_data.specs import Skeleton

F64 = npt.NDArray[np.float64]
FRAME_RATE = 30

# Standing pose of the middle and of the left half mirrored, metres from the base of the spine; facing the
# sensor at -z, y up, so that the person's right is at +x.
_REST: dict[str, tuple[float, float, float]] = {
    "base_of_spine": (0, 0, 0),
    "middle_of_spine": (0, 0.28, 0),
    "spine_at_shoulders": (0, 0.50, 0),
    "neck": (0, 0.57, 0),
    "head": (0, 0.72, -0.02),
    "left_shoulder": (0.17, 0.47, 0),
    "left_elbow": (0.22, 0.21, 0.02),
    "left_wrist": (0.24, -0.02, -0.02),
    "left_hand": (0.24, -0.09, -0.03),
    "left_hand_tip": (0.24, -0.16, -0.04),
    "left_thumb": (0.21, -0.10, -0.08),
    "left_hip": (0.08, -0.02, 0),
    "left_knee": (0.10, -0.44, -0.01),
    "left_ankle": (0.10, -0.83, 0.01),
    "left_foot": (0.10, -0.88, -0.11),
}
# Joints that an action may turn, with the largest sensible angle in radians.
_PIVOTS = {
    "left_shoulder": 2.2,
    "right_shoulder": 2.2,
    "left_elbow": 1.8,
    "right_elbow": 1.8,
    "left_hip": 1.1,
    "right_hip": 1.1,
    "left_knee": 1.3,
    "right_knee": 1.3,
    "middle_of_spine": 0.7,
    "neck": 0.6,
}


@dataclass(frozen=True)
class _Move:
    """One joint's part in an action: it swings `cycles` times a second, or rises and returns once where that
    is 0."""

    joint: str
    axis: tuple[float, float, float]
    angle: float
    cycles: float
    onset: float
    length: float


@dataclass(frozen=True)
class Subject:
    """A build: how long the bones are, how wide the shoulders, how fast and how far this person moves."""

    height: float
    breadth: float
    tempo: float
    reach: float

    @staticmethod
    def draw(number: int, seed: int) -> Subject:
        rng = np.random.default_rng([seed, 1, number])
        return Subject(rng.normal(1, 0.06), rng.normal(1, 0.06), rng.normal(1, 0.12), rng.normal(1, 0.1))


def perform(skeleton: Skeleton, action: int, role: int, subject: Subject, rng: np.random.Generator) -> F64:
    """One performance of an action. Returns (T, V, 3) metres around the base of the spine, y up, facing
    -z."""
    moves, seconds, hop = _programme(action, role)
    tempo = subject.tempo * rng.normal(1, 0.08)
    frames = int(np.clip(seconds / tempo * FRAME_RATE, 30, 240))
    time = np.arange(frames) / FRAME_RATE * tempo
    turns: dict[str, F64] = {}
    for move in moves:
        angle = move.angle * subject.reach * rng.normal(1, 0.1)
        onset = move.onset * seconds + rng.normal(0, 0.08)
        inside = np.clip((time - onset) / (move.length * seconds), 0, 1)
        envelope = np.sin(np.pi * inside) ** 0.6
        wave = (
            np.sin(2 * np.pi * move.cycles * (time - onset) - np.pi / 2) * 0.5 + 0.5 if move.cycles else 1.0
        )
        turns[move.joint] = np.outer(angle * envelope * wave, move.axis) + turns.get(move.joint, 0)
    pose_noise = gaussian_filter1d(rng.normal(0, 0.15, (frames, len(_PIVOTS), 3)), 12, axis=0)
    for i, joint in enumerate(_PIVOTS):
        turns[joint] = turns.get(joint, 0) + pose_noise[:, i]
    positions = _kinematics(skeleton, _rest(skeleton, subject), turns, frames)
    drop = positions[:, :, 1].min(axis=1) - positions[0, :, 1].min()
    positions[..., 1] -= drop[:, None]  # the lower foot stays on the floor ...
    positions[..., 1] += (hop * np.abs(np.sin(np.pi * 1.5 * time)))[:, None]  # ... unless the action hops
    return positions


def to_camera(positions: F64, camera: int, heading: float, place: Sequence[float]) -> F64:
    """From the performer's space to a camera's: three cameras at -45, 0 and 45 degrees, 3 m away. (T, V, 3)
    metres."""
    angle = heading + np.deg2rad((-45, 0, 45)[(camera - 1) % 3])
    turned = positions @ Rotation.from_euler("y", angle).as_matrix().T
    return np.asarray(turned + np.asarray(place))


def ghost(skeleton: Skeleton, frames: int, rng: np.random.Generator) -> F64:
    """What a chair or a curtain gives: a body wider than it is high that hardly moves. (T, V, 3) metres."""
    shape = rng.uniform(-1, 1, (len(skeleton.joints), 3)) * (0.8, 0.25, 0.3)
    return np.asarray(shape + rng.normal(0, 0.01, (frames, 1, 3)) + (rng.uniform(-1, 1), -0.3, 3.8))


def sense(positions: F64, rng: np.random.Generator) -> tuple[F64, npt.NDArray[np.int64]]:
    """What a sensor makes of it: noise of 2 mm, and stretches in which a joint is inferred, with noise of 15
    mm.

    Returns: (T, V, 3) metres, (T, V) tracking states 1 (inferred) or 2 (tracked).
    """
    frames, joints = positions.shape[:2]
    states = np.full((frames, joints), 2)
    for _ in range(rng.poisson(joints * frames / 400)):
        start, joint = rng.integers(frames), rng.integers(joints)
        states[start : start + int(rng.integers(3, 20)), joint] = 1
    scale = np.where(states == 1, 0.015, 0.002)[..., None]
    drift = gaussian_filter1d(
        rng.normal(0, 1, positions.shape), 2, axis=0
    )  # a tracker's noise wanders, it does not jump each frame
    return positions + drift / drift.std() * scale, states


def _programme(action: int, role: int) -> tuple[list[_Move], float, float]:
    """The moves of a class (or of the second person's role in it), its length in seconds and how high it hops
    in metres."""
    rng = np.random.default_rng([7, action, role])
    joints = list(rng.choice(list(_PIVOTS), size=int(rng.integers(2, 5)), replace=False))
    moves = []
    for order, joint in enumerate(joints):
        axis = rng.normal(0, 1, 3) * (1, 0.4, 1)
        axis /= np.linalg.norm(axis)
        cycles = float(rng.choice([0.0, 0.6, 1.0, 1.6, 2.4]))
        angle = float(rng.uniform(0.4, 1.0) * _PIVOTS[joint] * rng.choice([-1, 1]))
        onset = 0.15 * order + float(rng.uniform(0, 0.2))
        moves.append(
            _Move(joint, (axis[0], axis[1], axis[2]), angle, cycles, onset, float(rng.uniform(0.4, 0.8)))
        )
    return moves, float(rng.uniform(2.0, 4.0)), float(rng.choice([0, 0, 0, 0.12]))


def _rest(skeleton: Skeleton, subject: Subject) -> F64:
    rest = np.zeros((len(skeleton.joints), 3))
    for i, joint in enumerate(skeleton.joints):
        mirror = joint.replace("right_", "left_")
        if mirror not in _REST:
            raise UsageError(f"synthetic motion knows the joints of kinect_v2, not '{joint}'")
        x, y, z = _REST[mirror]
        rest[i] = (-x if joint.startswith("left_") else x) * subject.breadth, y * subject.height, z
    return rest


def _kinematics(skeleton: Skeleton, rest: F64, turns: dict[str, F64], frames: int) -> F64:
    """Turn each joint in its parent's frame, from the base of the spine outwards; bone lengths never
    change."""
    near: dict[int, list[int]] = {i: [] for i in range(len(rest))}
    for a, b in skeleton.bone_indices:
        near[int(a)].append(int(b))
        near[int(b)].append(int(a))
    root = skeleton.index("base_of_spine")
    positions = np.zeros((frames, len(rest), 3))
    frame_of = {root: np.tile(np.eye(3), (frames, 1, 1))}
    queue = [root]
    for joint in queue:
        name = skeleton.joints[joint]
        if name in turns:
            frame_of[joint] = frame_of[joint] @ Rotation.from_rotvec(turns[name]).as_matrix()
        for child in near[joint]:
            if child not in frame_of:
                positions[:, child] = positions[:, joint] + frame_of[joint] @ (rest[child] - rest[joint])
                frame_of[child] = frame_of[joint]
                queue.append(child)
    return positions
