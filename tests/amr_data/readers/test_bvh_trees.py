"""Forward kinematics of any tree against the slow version."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.amr_data.readers.test_bvh_file import check_tree


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[dict], list[list[float]]]:
    """Joints with a parent before them, an offset and channels in any order, and rows of values for these."""
    number = st.integers(-4000, 4000).map(lambda n: n / 16)
    joints: list[dict] = []
    for index in range(draw(st.integers(1, 6))):
        channels = draw(
            st.permutations(["Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation"])
        )
        joints.append(
            {
                "parent": draw(st.integers(0, index - 1)) if index else -1,
                "offset": draw(st.tuples(number, number, number)),
                "channels": channels[: draw(st.integers(0 if index else 1, 6))],
            }
        )
    width = sum(len(j["channels"]) for j in joints)
    rows = draw(st.lists(st.lists(number, min_size=width, max_size=width), min_size=1, max_size=4))
    return joints, rows


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=trees(), added=st.booleans())
def test_any_tree_equals_the_slow_version(tree, added):
    check_tree(*tree, added)
