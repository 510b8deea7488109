"""`amr-train run --nproc N`: the same command in N processes on this machine, by torch's own launcher."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def with_processes(count: int, arguments: Sequence[str]) -> int:
    """Run `amr-train ARGUMENTS` in `count` processes. Returns the exit code: that of the first process that
    failed, or 0."""
    logging.getLogger("torch.distributed.elastic").setLevel(
        logging.CRITICAL
    )  # the processes say themselves what failed
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "amr_cli.train", *arguments)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        return next((code for code in codes if code > 0), 1)
    return 0
