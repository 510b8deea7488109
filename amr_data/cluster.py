"""A running Dask cluster, where a lab has one (extra `cluster`)."""

from __future__ import annotations

from typing import Any

from amr_data.errors import AmrError, UsageError


def cluster_client(scheduler: str) -> Any:
    """A `distributed.Client`, a context manager, of the scheduler at tcp://HOST:PORT.

    Raises: UsageError where `distributed` is missing; AmrError where no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("the dask backend needs the extra: pip install 'amr-skeleton[cluster]'") from None
    try:
        return Client(scheduler, timeout=10)  # type: ignore[no-untyped-call,unused-ignore]
    except (OSError, ValueError) as error:
        raise AmrError(f"no Dask scheduler answers at {scheduler}: {error}") from None
