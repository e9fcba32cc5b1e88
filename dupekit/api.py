"""What plugin authors import: the contract (`dupekit.plugin.contract`), images, cache, and some tools.

Nothing else of the core is meant for plugins.
"""

from __future__ import annotations

from dupekit.dataset.cache import Cache, CachedArray, Rows
from dupekit.dataset.images import Fit, Image, Images
from dupekit.dataset.pixels import RULES
from dupekit.errors import (
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
    EXECUTORS,
    TRAINERS,
    VALIDATORS,
    Executor,
    Job,
    Outcome,
    PredictTask,
    Trainer,
    TrainTask,
    Validator,
)
from dupekit.plugin.model import METADATA_KEY, Input, Model, model_metadata, read_metadata
from dupekit.system.devices import cores, cuda_devices
from dupekit.system.parallel import in_order
from dupekit.system.progress import Progress, silent

__all__ = [
    "EXECUTORS", "METADATA_KEY", "RULES", "TRAINERS", "VALIDATORS", "Cache", "CachedArray", "DatasetChanged",
    "DupekitError", "Executor", "Fit", "Image", "ImageError", "Images", "Input", "Job", "JobError", "Model",
    "OptionError", "Outcome", "PluginError", "PredictTask", "Progress", "Rows", "TrainTask", "Trainer", "UsageError",
    "Validator", "atomic_write", "cores", "cuda_devices", "in_order", "model_metadata", "read_metadata", "silent",
    "write_text",
]  # fmt: skip
