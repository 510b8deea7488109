"""The methods side by side on a real data set: `python -m benchmarks.methods nw-ucla/ --seeds 0 1 2`.

Every run is `amr-train run nw-ucla-METHOD`; finished ones in the folder are not run again, an unfinished one
is taken up. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from amr_train import load_experiment, run_experiment

METHODS = ("mae", "mamp", "amr-no-focal", "amr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("overrides", nargs="*", help="settings for all runs, such as pretrain.epochs=60")
    parser.add_argument("--base", default="nw-ucla", help="data set part of the experiments' names")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    chosen = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {m: [] for m in chosen.methods}
    for seed in chosen.seeds:
        for method in chosen.methods:
            settings = [f"data.path={json.dumps(str(chosen.data))}", f"seed={seed}", *chosen.overrides]
            experiment = load_experiment(f"{chosen.base}-{method}", settings)
            found[method].append(run_experiment(experiment, chosen.out / f"{method}-{seed}"))
            last = found[method][-1]
            print(f"{method} {seed}: {last['pretrained']} {last['pretraining']['seconds']:.0f} s", flush=True)
    print("\n| method | linear | kNN | seconds of pre-training, fastest seed |\n|---|---|---|---|")
    print(_row("untrained", [r["untrained"] for r in found[chosen.methods[0]]], "-"))
    for method, results in found.items():
        seconds = min(r["pretraining"]["seconds"] for r in results)
        print(_row(method, [r["pretrained"] for r in results], f"{seconds:.0f}"))


def _row(name: str, results: list[dict[str, float]], seconds: str) -> str:
    cells = []
    for key in ("linear", "knn"):
        values = [r[key] for r in results]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{mean(values):.1f}{spread} ({' '.join(f'{v:.1f}' for v in values)})")
    return f"| {name} | {cells[0]} | {cells[1]} | {seconds} |"


if __name__ == "__main__":
    main()
