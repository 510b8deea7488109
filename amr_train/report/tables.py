"""Results of many runs as rows: ours over seeds, beside the published value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amr_train.evaluation.protocols_old import spread
from amr_train.experiments.loading import read_shipped
from amr_train.experiments.suites import Stage


def published() -> dict[str, dict[str, float]]:
    """Published top-1 in percent by experiment and protocol."""
    return read_shipped("experiments/published.yaml")


@dataclass(frozen=True)
class Entry:
    """One run's or evaluation's results. `scale` is that of its experiment; `prefix` goes before its
    protocols' names."""

    name: str
    seed: int
    results: dict[str, Any]
    scale: str
    prefix: str = ""


def suite_rows(found: Iterable[tuple[Stage, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of a suite's stages, see `rows_of`."""
    entries = []
    for stage, results in found:
        transfer = stage.transfer
        prefix = f"transfer {transfer.dataset}-{transfer.split} " if transfer else ""
        entries.append(
            Entry(
                transfer.encoder if transfer else stage.name,
                stage.seed,
                results,
                stage.experiment.scale,
                prefix,
            )
        )
    return rows_of(entries)


def rows_of(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """A row for each experiment and protocol, and before them one for the untrained encoder on each split:
    values by seed, mean, spread, seconds of pre-training of the fastest seed, and the published value, where
    the sizes are the published ones."""
    values: dict[tuple[str, str], list[float]] = {}
    seconds: dict[tuple[str, str], list[float]] = {}
    untrained: dict[tuple[str, str], dict[int, float]] = {}
    known = published()
    for entry in entries:
        results = entry.results
        for protocol, value in headline(results["protocols"]).items():
            key = (entry.name, entry.prefix + protocol)
            values.setdefault(key, []).append(value)
            if "pretraining" in results:
                seconds.setdefault(key, []).append(results["pretraining"]["seconds"])
                if protocol in ("linear", "knn"):
                    split = f"{results['dataset']}-{results['protocol']}, untrained"
                    untrained.setdefault((split, protocol), {})[entry.seed] = results["untrained"][protocol]
        if entry.scale not in ("full", ""):
            known.pop(entry.name, None)
    before = {key: list(by_seed.values()) for key, by_seed in untrained.items()}
    return [
        {
            "experiment": name,
            "protocol": protocol,
            "values": of_seeds,
            **spread(of_seeds),
            "published": known.get(name, {}).get(protocol),
            "seconds": min(seconds[name, protocol]) if (name, protocol) in seconds else None,
        }
        for (name, protocol), of_seeds in (before | values).items()
    ]


def headline(protocols: dict[str, Any]) -> dict[str, float]:
    """The figure to quote of each protocol, in percent: top-1, mAP for retrieval, the mean over drawn labels
    for each share."""
    figures: dict[str, float] = {}
    for name, found in protocols.items():
        if name == "retrieval":
            figures[name] = found["mAP"]
        elif name == "semi":
            figures.update({f"semi {share}": result["mean"] for share, result in found.items()})
        else:
            figures[name] = found["top1"]
    return figures
