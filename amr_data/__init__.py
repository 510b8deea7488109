"""amr-data: raw Kinect skeleton files to normalised HDF5 shards with motion statistics."""

from amr_data.clip import BodyTrack, Clip
from amr_data.conversion import ConvertReport, convert
from amr_data.errors import AmrError, Record, UsageError
from amr_data.recipes.normalize import Recipe
from amr_data.recording import Interval, Recording
from amr_data.repairing import repair
from amr_data.shards.arrays import SplitArrays
from amr_data.shards.exchange import export_dataset
from amr_data.shards.reader import ALL, ShardDataset, open_dataset
from amr_data.shards.verification import verify
from amr_data.specs import NO_LABEL, DatasetSpec, load_spec, spec_from_json, spec_names

__version__ = "0.1.0"
__all__ = [
    "ALL",
    "NO_LABEL",
    "AmrError",
    "BodyTrack",
    "Clip",
    "ConvertReport",
    "DatasetSpec",
    "Interval",
    "Recipe",
    "Record",
    "Recording",
    "ShardDataset",
    "SplitArrays",
    "UsageError",
    "convert",
    "export_dataset",
    "load_spec",
    "open_dataset",
    "repair",
    "spec_from_json",
    "spec_names",
    "verify",
]
