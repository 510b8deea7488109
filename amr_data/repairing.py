"""Mend a dataset from the raw files that it was made from: what is broken is built again, what is sound stays
untouched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amr_data.conversion import ConvertReport, Progress, build_missing, locked, shard_runner
from amr_data.errors import AmrError, UsageError
from amr_data.plan import Settings, make_plan, read_plan
from amr_data.readers import open_sources
from amr_data.recipes.normalize import Recipe
from amr_data.shards.layout import MANIFEST, PLAN
from amr_data.shards.verification import check_manifest, verify
from amr_data.specs import spec_from_json


def repair(
    path: str | Path,
    sources: Sequence[str | Path],
    workers: int | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Rebuild the shards that `verify` finds broken, and the manifest, from the same sources; sound shards
    stay untouched.

    Raises: UsageError where the sources are not those that the dataset was made from, AmrError where the
        rebuilt content differs.
    """
    path = Path(path).resolve()
    findings = verify(path)
    plan_record = read_plan(path) or _plan_from_manifest(path)
    with open_sources([Path(s) for s in sources], path.parent, [path]) as source, locked(path):
        settings = Settings(
            Recipe(**plan_record["recipe"]), plan_record["compression"], plan_record["options"]
        )
        plan = make_plan(source, spec_from_json(plan_record["spec"]), settings)
        if plan.fingerprint != plan_record["fingerprint"]:
            raise UsageError(
                f"{', '.join(plan.source.names)}: not the files that {path} was made from (names, sizes or "
                f"settings differ)"
            )
        plan.recall(plan_record)
        before = {}
        manifest, _, _ = check_manifest(path)
        if manifest:
            plan.recall(manifest["source"])
            before = {s["file"]: s["checksum"] for s in manifest["shards"]}
        for finding in findings:
            if finding.file.startswith("shard-"):
                (path / finding.file).unlink(missing_ok=True)
        new, kept = build_missing(plan, path, shard_runner(workers, "processes", None), progress, before)
    return ConvertReport(path, new, 0.0, kept)


def _plan_from_manifest(path: Path) -> dict[str, Any]:
    manifest, _, _ = check_manifest(path)
    if manifest is None:
        raise AmrError(
            f"{path}: {PLAN} and {MANIFEST} are both damaged, so nothing says how it was made; convert "
            f"again with --overwrite"
        )
    recipe = {k: manifest["recipe"][k] for k in ("name", "rotate", "scale")}
    said = {*recipe, "centred", "unit"}
    return {
        "fingerprint": manifest["source"]["fingerprint"],
        "spec": manifest["spec"],
        "recipe": recipe,
        "compression": manifest["compression"],
        "options": {k: v for k, v in manifest["recipe"].items() if k not in said},
    }
