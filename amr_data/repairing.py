"""Mend a dataset from the raw files that it was made from: what is broken is built again, what is sound stays
untouched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amr_data.conversion import ConvertReport, Progress, build_missing, locked
from amr_data.errors import AmrError, UsageError
from amr_data.files import write_json
from amr_data.identity import MARK, changed_unit
from amr_data.plan import RECORDINGS, Plan, Settings, make_plan, read_plan
from amr_data.readers import open_sources
from amr_data.recipes.normalize import Recipe
from amr_data.shards.layout import MANIFEST, PLAN
from amr_data.shards.model import DamageError, PlanRecord, believed, read_manifest
from amr_data.shards.verification import verify
from amr_data.specs import spec_from_json
from amr_data.workers import shard_runner


def repair(
    path: str | Path,
    sources: Sequence[str | Path],
    workers: int | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Rebuild the shards that `verify` finds broken, and the manifest, from the same sources; sound shards
    stay untouched. The sources may have another name by now, or come from another release of this package.

    Raises: UsageError where the sources are not those that the dataset was made from, AmrError where the
        rebuilt content differs.
    """
    path = Path(path).resolve()
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder")
    with locked(path):
        findings = verify(path)
        manifest = _manifest(path)
        record = read_plan(path) or _plan_from_manifest(path, manifest)
        names = record.names or (manifest["source"]["paths"] if manifest else [])
        with open_sources([Path(s) for s in sources], path.parent, [path]) as source:
            given = ", ".join(source.names)
            if len(names) == len(source.names):
                source.names = list(names)  # a clip names its source as it was called at first
            settings = Settings(Recipe(**record.recipe), record.compression, record.options, record.keep)
            plan = make_plan(source, spec_from_json(record.spec), settings)
            if not _same_sources(plan, record, manifest):
                raise UsageError(
                    f"{given}: not the files that {path} was made from (names, sizes, or the order of the "
                    f"sources: {', '.join(names)})"
                )
            plan.fingerprint = record.fingerprint
            plan.synthetic = plan.synthetic or record.synthetic
            if manifest:
                plan.synthetic = plan.synthetic or manifest["source"].get("synthetic", False)
            if not manifest and plan.stamps != record.stamps and (unit := changed_unit(plan, path)):
                raise UsageError(f"{given}: not the files that {path} was made from: {unit} may have changed")
            for finding in findings:
                if finding.where.startswith("shard-"):
                    (path / finding.where).unlink(missing_ok=True)
            if read_plan(path) is None:
                # the times of these files are believed once a conversion has proved their content
                write_json(path / PLAN, {**plan.record(), "stamps": record.stamps})
            before = {s["file"]: s for s in manifest["shards"]} if manifest else {}
            new, kept = build_missing(plan, path, shard_runner(workers, "processes", None), progress, before)
    return ConvertReport(path, new, 0.0, kept)


def _same_sources(plan: Plan, record: PlanRecord, manifest: dict[str, Any] | None) -> bool:
    if plan.fingerprint == record.fingerprint:
        return True
    if record.fingerprint.startswith(MARK):
        return False
    # A dataset of release 0.1.0 is recognised by the files' stamps, or by their number and size; each rebuilt
    # shard must then have the checksum in the manifest.
    if manifest is None:
        return plan.stamps == record.stamps
    found = plan.sources, plan.bytes, len(plan.shards)
    return found == (manifest["source"]["files"], manifest["source"]["bytes"], len(manifest["shards"]))


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        return read_manifest(path)[0]
    except (DamageError, FileNotFoundError):
        return None


def _plan_from_manifest(path: Path, manifest: dict[str, Any] | None) -> PlanRecord:
    if manifest is None:
        raise AmrError(
            f"{path}: {PLAN} and {MANIFEST} are both damaged, so nothing says how it was made; convert "
            f"again with --overwrite"
        )
    recipe = {k: v for k, v in manifest["recipe"].items() if k in ("name", "rotate", "scale")}
    said = {*recipe, "centred", "unit"}
    about = {
        "fingerprint": manifest["source"]["fingerprint"],
        "stamps": "",
        "spec": manifest["spec"],
        "recipe": recipe,
        "compression": manifest.get("compression", "none"),
        "options": {k: v for k, v in manifest["recipe"].items() if k not in said},
        "keep": RECORDINGS if manifest.get("recordings") else None,
    }
    return believed(path / MANIFEST, PlanRecord, about)
