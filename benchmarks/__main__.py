"""Run all benchmarks, or those named on the command line: `python -m benchmarks convert feed step`. Some
take options: `throughput --html page.html`, `convert --against HEAD~1`, `workbench --clips 50000`."""

from __future__ import annotations

import sys

from benchmarks import convert, feed, probe, scaling, step, throughput, workbench

ALL = {
    "convert": convert.main,
    "scaling": scaling.main,
    "feed": feed.main,
    "step": step.main,
    "probe": probe.main,
    "throughput": throughput.main,
    "workbench": workbench.main,
}


def main(names: list[str]) -> int:
    if names[:1] == ["throughput"]:
        throughput.main(names[1:])
        return 0
    if names[:1] == ["workbench"]:
        workbench.main(names[1:])
        return 0
    if names[:1] == ["convert"] and any(name.startswith("-") for name in names):
        convert.main(names[1:])
        return 0
    unknown = [n for n in names if n not in ALL]
    if unknown:
        print(f"there is no benchmark '{unknown[0]}'; known: {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in names or ALL:
        print(f"\n== {name}", flush=True)
        ALL[name]()
    return 0


sys.exit(main(sys.argv[1:]))
