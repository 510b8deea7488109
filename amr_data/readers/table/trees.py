"""Skeletons in JSON: a path leads to them, and the axes of the shape say what each level of lists and objects
is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from amr_data.errors import RejectError
from amr_data.readers.table.grids import plain_number
from amr_data.readers.table.layout import MAX_BODIES
from amr_data.readers.table.resolved import Resolved
from amr_data.readers.table.shapes import MAX_VALUES, arrange

MAX_JSON_BYTES = 64 << 20
"""Python's objects take ten times the text's size."""


def load_json(data: bytes) -> Any:
    """The content of a JSON file. Raises RejectError."""
    if len(data) > MAX_JSON_BYTES:
        raise RejectError("too_large", f"{len(data):,} bytes of JSON, at most {MAX_JSON_BYTES:,} are read")
    if not data.strip():
        raise RejectError("empty", "nothing in the file")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RejectError("not_skeleton", f"not JSON: {str(error)[:120]}") from None


def follow(content: Any, path: str) -> Any:
    """What a path leads to: names of objects and positions in lists between dots; `*` goes into every entry
    of a list. An entry that lacks the rest of the path is None. Raises RejectError where nothing is there."""
    found = _follow(content, path.split(".") if path else [])
    if found is None and path:
        has = f"; the file has {', '.join(list(content)[:6])}" if isinstance(content, dict) else ""
        raise RejectError("not_skeleton", f"nothing at '{path}'{has}")
    return found


def _follow(node: Any, parts: list[str]) -> Any:
    for i, part in enumerate(parts):
        if part == "*":
            entries = node.values() if isinstance(node, dict) else node
            if not isinstance(entries, list) and not isinstance(node, dict):
                return None
            return [_follow(entry, parts[i + 1 :]) for entry in entries]
        if isinstance(node, dict):
            node = node.get(part)
        elif isinstance(node, list) and part.isdigit() and len(part) < 10 and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node


def tree_values(node: Any, resolved: Resolved, groups: list[list[str]]) -> npt.NDArray[np.float64]:
    """Nested lists and objects as (T, M, V, C) float64. Objects stand for joints or values by the names that
    the layout gives; what is absent is NaN, and so are the bodies that a frame has not."""
    sizes = dict(resolved.sizes)
    if ["M"] in groups and sizes["M"] is None:
        sizes["M"] = _most_bodies(node, groups)
    lengths: list[int | None] = []
    for group in groups:
        known = [sizes[letter] for letter in group]
        product = 1
        for size in known:
            product = product * size if size is not None else product
        lengths.append(None if None in known else product)
    if lengths[0] is None:
        if not isinstance(node, list):
            raise RejectError("not_skeleton", f"{_kind(node)} where a list of {' '.join(groups[0])} belongs")
        lengths[0] = len(node)
    if None in lengths[1:]:
        raise RejectError("not_skeleton", "frames must be the outermost list")
    total = int(np.prod([length or 0 for length in lengths], dtype=np.float64))
    if total > MAX_VALUES:
        raise RejectError("too_large", f"{total:,} numbers, at most {MAX_VALUES:,} are read")
    out = np.full([length or 0 for length in lengths], np.nan)
    _fill(node, out, groups, resolved, "")
    return arrange(out, groups, sizes)


def _most_bodies(node: Any, groups: list[list[str]]) -> int:
    """The largest number of bodies in a frame."""
    at = groups.index(["M"])
    if at == 0:
        levels = [node]
    elif at == 1 and isinstance(node, list):
        levels = node
    else:
        raise RejectError("not_skeleton", "bodies must be the outermost list, or the one inside the frames")
    most = max((len(level) for level in levels if isinstance(level, list)), default=0)
    if most > MAX_BODIES:
        raise RejectError("body_count", f"{most} bodies in a frame, at most {MAX_BODIES} are read")
    return max(most, 1)


def _fill(
    node: Any, out: npt.NDArray[np.float64], groups: list[list[str]], resolved: Resolved, where: str
) -> None:
    if node is None:
        return  # absent
    if not groups:
        out[()] = plain_number(node, where.lstrip(".") or "the value")
        return
    group = groups[0]
    names = {"V": resolved.joints, "C": resolved.values}.get(" ".join(group))
    if isinstance(node, dict) and names is not None:
        for i, name in enumerate(names):
            if name in node:
                _fill(
                    node[name], out[i : i + 1].reshape(out.shape[1:]), groups[1:], resolved, f"{where}.{name}"
                )
        return
    letters = " ".join(group)
    if not isinstance(node, list):
        raise RejectError(
            "not_skeleton", f"{_kind(node)} at '{where.lstrip('.')}' where a list ({letters}) belongs"
        )
    if len(node) > len(out) or (len(node) < len(out) and group != ["M"] and node):
        raise RejectError(
            "joint_count", f"'{where.lstrip('.')}' has {len(node)} entries ({letters}), expected {len(out)}"
        )
    if len(groups) == 1 and all(type(entry) in (int, float) and abs(entry) < 1e300 for entry in node):
        out[: len(node)] = node
        return
    for i, entry in enumerate(node):
        _fill(entry, out[i : i + 1].reshape(out.shape[1:]), groups[1:], resolved, f"{where}.{i}")


def _kind(node: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "nothing"}.get(type(node), "a number")
