"""What plugin authors import: the contract (`dupekit.plugin.contract`), images, cache, and some tools.

Nothing else of the core is meant for plugins.
"""

from __future__ import annotations

from annotated_types import Ge, Gt, Le, Lt

from dupekit.dataset.cache import Cache, CachedArray, Rows
from dupekit.dataset.images import Fit, Image, Images
from dupekit.dataset.pixels import RULES
from dupekit.errors import (
    CacheError,
    DatasetChanged,
    DupekitError,
    ImageError,
    JobError,
    OptionError,
    PluginError,
    UsageError,
)
from dupekit.files.write import atomic_write, write_text
from dupekit.plugin.contract import (
    API_VERSION,
    EXECUTORS,
    TRAINERS,
    VALIDATORS,
    Detaches,
    Executor,
    Job,
    JobState,
    Outcome,
    PredictTask,
    Prepares,
    Previews,
    Trainer,
    TrainsMany,
    TrainTask,
    Validator,
    prepare_command,
    worker_command,
)
from dupekit.plugin.model import (
    METADATA_KEY,
    FeatureInput,
    Input,
    Model,
    PixelInput,
    model_metadata,
    read_metadata,
)
from dupekit.system.devices import cores, cuda_devices
from dupekit.system.parallel import in_order
from dupekit.system.progress import Progress, silent, stage

__all__ = [
    "API_VERSION", "EXECUTORS", "METADATA_KEY", "RULES", "TRAINERS", "VALIDATORS", "Cache", "CacheError", "CachedArray",
    "DatasetChanged", "Detaches", "DupekitError", "Executor", "FeatureInput", "Fit", "Ge", "Gt", "Image", "ImageError",
    "Images", "Input", "Job", "JobError", "JobState", "Le", "Lt", "Model", "OptionError", "Outcome", "PixelInput",
    "PluginError", "PredictTask", "Prepares", "Previews", "Progress", "Rows", "TrainTask", "Trainer", "TrainsMany",
    "UsageError", "Validator", "atomic_write", "cores", "cuda_devices", "in_order", "model_metadata", "prepare_command",
    "read_metadata", "silent", "stage", "worker_command", "write_text",
]  # fmt: skip
