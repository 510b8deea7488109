"""Results of many runs as rows: ours over seeds, beside the published value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amr_train.loading import read_shipped
from amr_train.protocols import spread
from amr_train.suites import Stage


def published() -> dict[str, dict[str, float]]:
    """Published top-1 in percent by experiment and protocol."""
    return read_shipped("experiments/published.yaml")


def suite_rows(found: Iterable[tuple[Stage, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row for each experiment and protocol, and one for the untrained encoder of each: values by seed, mean, spread, published value,
    seconds of pre-training of the fastest seed."""
    values: dict[tuple[str, str], list[float]] = {}
    seconds: dict[tuple[str, str], list[float]] = {}
    untrained: dict[tuple[str, str], list[float]] = {}
    for stage, results in found:
        prefix = f"transfer {stage.transfer.dataset}-{stage.transfer.split} " if stage.transfer else ""
        name = stage.transfer.encoder if stage.transfer else stage.name
        for protocol, value in headline(results["protocols"]).items():
            key = (name, prefix + protocol)
            values.setdefault(key, []).append(value)
            if not stage.transfer:
                seconds.setdefault(key, []).append(results["pretraining"]["seconds"])
                if protocol in ("linear", "knn"):
                    untrained.setdefault((f"{name}, untrained", protocol), []).append(results["untrained"][protocol])
    known = published()
    return [
        {
            "experiment": name,
            "protocol": protocol,
            "values": of_seeds,
            **spread(of_seeds),
            "published": known.get(name, {}).get(protocol),
            "seconds": min(seconds[name, protocol]) if (name, protocol) in seconds else None,
        }
        for (name, protocol), of_seeds in (values | untrained).items()
    ]


def headline(protocols: dict[str, Any]) -> dict[str, float]:
    """The figure to quote of each protocol, in percent: top-1, mAP for retrieval, the mean over drawn labels for each share."""
    figures: dict[str, float] = {}
    for name, found in protocols.items():
        if name == "retrieval":
            figures[name] = found["mAP"]
        elif name == "semi":
            figures.update({f"semi {share}": result["mean"] for share, result in found.items()})
        else:
            figures[name] = found["top1"]
    return figures
