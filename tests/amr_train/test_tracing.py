"""On a GPU nothing waits for the host: shown by running everything on a device that has no values."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from torch.utils import backend_registration

from tests.amr_train.tracing import METHODS


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot register a device from Python",
)
def test_no_loop_reads_a_value_mixes_devices_or_copies_what_was_not_planned():
    """Beside what a plan lays on the device once, resident clips copy nothing, streamed ones the gathered
    batch alone: joints, energies, presence, rows, clips, angles and what was drawn for changes from pinned
    memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.amr_train.tracing"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    refused = ["DataDependentOutputException", "DynamicOutputShapeException", "FakeTensorDeviceMismatchError"]
    assert found.pop("caught") == [*refused, "Copied", "Copied"]
    steps, planned, order = 2, 5, 1
    beside = {"classification": planned, "probes": order}
    assert found.pop("amr host") == {
        "training": 6 * steps,
        "features": 6 * steps,
        "fine-tuning": 6 * steps,
        "classification": 6 * steps,
        "probes": order,
    }
    # without energies, with what was drawn for changes
    assert [found.pop(f"changed {where}") for where in ("host", "device")] == [
        {"training": 6 * steps},
        {"training": 0},
    ]
    assert found.pop("mixed device") == {"training": 0}  # of two skeletons
    nothing = {"training": 0, "features": 0, "fine-tuning": 0}
    assert found == {f"{method} device": {**nothing, **beside} for method in (*METHODS, "compact", "taught")}
