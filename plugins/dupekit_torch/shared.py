"""What all runs of a round share on a device: its pixels, what networks are made of, the exported graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dupekit.api import PixelInput, PluginError, Progress, Rows, TrainTask, stage
from dupekit_nets import pretrained
from dupekit_nets.pretrained import TORCHVISION
from dupekit_torch.device import computes_bfloat16, device_named
from dupekit_torch.network.classifier import Spec
from dupekit_torch.network.export import Exporter
from dupekit_torch.network.stem import whitening_filters
from dupekit_torch.options import COMPACT, Options
from dupekit_torch.pixels import statistics
from dupekit_torch.pixels.source import Source, source
from dupekit_torch.pixels.statistics import Moments
from dupekit_torch.pixels.symmetries import symmetries


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """It follows from options, device and pool alone."""

    options: Options
    device: torch.device
    input: PixelInput
    source: Source
    spec: Spec
    symmetries: tuple[int, ...]
    autocast: bool
    """Whether networks compute in bfloat16."""
    exporter: Exporter


def share(task: TrainTask[Options], progress: Progress) -> Shared:
    """Makes it for the task and all like it.

    Raises OptionError for options that do not fit the data, UsageError for a device that is not there, PluginError where
    there are no images.
    """
    options, device = task.options, device_named(task.device)
    if not len(task.pool):
        raise PluginError("There are no images to train on.")
    input_, rows = _pixels(task, progress)
    shown = symmetries(flips=options.flips, rotations=options.rotations)
    with stage(progress, "preparing"):
        spec = _spec(task, input_, rows)
        pixels = source(rows, device, options.pixels)
    with stage(progress, "exporting"):
        exporter = Exporter(spec, shown[: options.tta_views or 2])
    return Shared(
        options,
        device,
        input_,
        pixels,
        spec,
        shown,
        computes_bfloat16(device) if options.precision == "auto" else options.precision == "bfloat16",
        exporter,
    )


def _pixels(task: TrainTask[Options], progress: Progress) -> tuple[PixelInput, Rows]:
    options, pool = task.options, task.pool
    with stage(progress, "looking for colour"):
        channels = options.channels or (1 if statistics.is_grey(pool, task.cache) else 3)
    # On plankton of median 65, 64 pixels cost 1.6 times as much as 48 and gained 1.9 points; so many more epochs gained
    # 1.3. Networks of torchvision shrink images 32 times before they look at the whole.
    low, high = (32, 48) if options.model == COMPACT else (96, 224)
    size_px = options.image_size or statistics.typical_size(pool, low=low, high=high)
    rows = task.cache.pixels(pool, size_px=size_px, channels=channels, fit=options.fit, progress=progress)
    if options.pretrained:  # what those weights were trained with
        name = options.model.removeprefix(TORCHVISION)
        moments = Moments(*pretrained.mean_and_std(name, channels=channels))
    else:
        with stage(progress, "preparing"):
            moments = statistics.pixel_moments(rows)
    # Of images that are all of one size the size says nothing.
    log_size = options.log_size and bool((pool.sizes != pool.sizes[0]).any())
    return PixelInput(size_px, channels, moments.mean, moments.std, options.fit, log_size), rows


def _spec(task: TrainTask[Options], input_: PixelInput, rows: Rows) -> Spec:
    compact = task.options.model == COMPACT
    return Spec(
        model=task.options.model,
        size_px=input_.size_px,
        channels=input_.channels,
        classes=len(task.classes),
        log_size=statistics.size_moments(task.pool) if input_.log_size else None,
        pretrained=task.options.pretrained,
        width=task.options.width,
        stem=whitening_filters(statistics.standardised_sample(rows, input_)) if compact else None,
    )
