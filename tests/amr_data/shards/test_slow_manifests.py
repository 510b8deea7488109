"""A manifest that takes minutes to read is as good a trap as one that crashes."""

from __future__ import annotations

import pytest

from amr_data.specs import DatasetSpec, load_spec, spec_from_json

NTU = load_spec("ntu60").model_dump()


def test_no_expression_of_a_manifest_is_held_against_a_name_of_the_manifest():
    data = {**NTU, "naming": "(?P<action>(a|a)*)b", "example": "a" * 40 + "!"}
    assert spec_from_json(data).example == "a" * 40 + "!"
    with pytest.raises(ValueError, match="does not follow naming"):
        DatasetSpec.model_validate({**NTU, "example": "a!"})


def test_a_hundred_thousand_classes_are_counted_once():
    data = {**NTU, "classes": {str(i): f"class {i}" for i in range(100_000)}, "mutual": []}
    assert len(spec_from_json(data).classes) == 100_000


@pytest.mark.parametrize(
    "folds", [[[i] for i in range(5000)], [list(range(300_000)), *([i] for i in range(-99, 0))]]
)
def test_folds_cannot_make_gigabytes_of_a_small_file(folds):
    with pytest.raises(ValueError, match="folds of these values; at most"):
        spec_from_json({**NTU, "protocols": {"x": {"by": "subject", "folds": folds}}})
