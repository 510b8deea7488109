"""`amr-train run --nproc N`: the same command in N processes on this machine, by torch's own launcher."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from uuid import uuid4

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

SHUTDOWN_SECONDS = 120
"""Processes that were asked to stop have so long to reach a step at which they agree, and to save it."""


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def with_processes(count: int, arguments: Sequence[str]) -> int:
    """Run `amr-train ARGUMENTS` in `count` processes; signals go on to them. Returns the exit code: that of
    the first process that failed, 128 and the number of the signal that stopped them, or 0."""
    logging.getLogger("torch.distributed.elastic").setLevel(
        logging.CRITICAL
    )  # the processes say themselves what failed
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=uuid4().hex,
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "amr_cli.train", *arguments)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        return next((code for code in codes if code > 0), 1)
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0
