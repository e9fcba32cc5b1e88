"""What all runs of a round share on a device: its pixels or maps, what networks are made of, the exported graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dupekit.api import PixelInput, PluginError, Progress, Rows, TrainTask, stage
from dupekit_nets import lite0, pretrained
from dupekit_nets.lite0 import LITE0
from dupekit_nets.pretrained import TORCHVISION
from dupekit_torch.device import computes_bfloat16, device_named
from dupekit_torch.network.classifier import Spec
from dupekit_torch.network.export import Exporter
from dupekit_torch.network.maps import cached_maps
from dupekit_torch.network.stem import whitening_filters
from dupekit_torch.options import COMPACT, Options
from dupekit_torch.pixels import statistics
from dupekit_torch.pixels.source import Source, source
from dupekit_torch.pixels.statistics import Moments, standardised
from dupekit_torch.pixels.symmetries import symmetries

CHECKED_IMAGES = 4
"""So many images are predicted by network and file, to see that they agree."""

SIZES_PX = {COMPACT: (32, 48), LITE0: (96, 128)}
"""Least and most of the automatic square."""

TRAINED_ON_CPU = 11
"""The block of EfficientNet-Lite0 from which on it is trained on a CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """It follows from options, device and pool alone."""

    options: Options
    device: torch.device
    input: PixelInput
    source: Source
    spec: Spec
    symmetries: tuple[int, ...]
    """That training shows."""
    views: tuple[int, ...] | None
    """The same, where the source gives maps, each of one of them; None where it gives pixels."""
    autocast: bool
    """Whether networks compute in bfloat16."""
    exporter: Exporter
    check: tuple[Tensor, ...]
    """A few images of the pool, as the graph takes them, to see that network and file agree."""


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
    autocast = computes_bfloat16(device) if options.precision == "auto" else options.precision == "bfloat16"
    with stage(progress, "preparing"):
        spec = _spec(task, input_, rows, device)
    maps = None
    if spec.train_from and not options.shift_px:  # what is moved differs from all that could be kept
        maps = cached_maps(task, spec, input_, shown, device=device, autocast=autocast, progress=progress)
    with stage(progress, "preparing"):
        pixels = source(maps.rows if maps else rows, device, options.pixels)
    with stage(progress, "exporting"):
        exporter = Exporter(spec, shown[: options.tta_views or 2])
    return Shared(
        options=options,
        device=device,
        input=input_,
        source=pixels,
        spec=spec,
        symmetries=maps.codes if maps else shown,
        views=maps.codes if maps else None,
        autocast=autocast,
        exporter=exporter,
        check=_check(task, input_, rows),
    )


def _check(task: TrainTask[Options], input_: PixelInput, rows: Rows) -> tuple[Tensor, ...]:
    pixels = standardised(rows[:CHECKED_IMAGES], input_).contiguous()
    if not input_.log_size:
        return (pixels,)
    return pixels, torch.from_numpy(task.pool[:CHECKED_IMAGES].log_sizes())


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The pool's pixels in the cache."""

    size_px: int
    channels: int
    rows: Rows


def decoded(task: TrainTask[Options], progress: Progress) -> Decoded:
    """Needs no device."""
    options, pool = task.options, task.pool
    with stage(progress, "looking for colour"):
        channels = options.channels or (1 if statistics.is_grey(pool, task.cache) else 3)
    # On plankton of median 65, 64 pixels cost 1.6 times as much as 48 and gained 1.9 points; so many more epochs gained
    # 1.3. Networks of torchvision shrink images 32 times before they look at the whole.
    low, high = SIZES_PX.get(options.model, (96, 224))
    size_px = options.image_size or statistics.typical_size(pool, low=low, high=high)
    rows = task.cache.pixels(pool, size_px=size_px, channels=channels, fit=options.fit, progress=progress)
    return Decoded(size_px, channels, rows)


def _pixels(task: TrainTask[Options], progress: Progress) -> tuple[PixelInput, Rows]:
    options, pool, found = task.options, task.pool, decoded(task, progress)
    size_px, channels, rows = found.size_px, found.channels, found.rows
    if options.pretrained:  # what those weights were trained with
        moments = _moments_of_weights(options.model, channels)
    else:
        with stage(progress, "preparing"):
            moments = statistics.pixel_moments(rows)
    # Of images that are all of one size the size says nothing.
    log_size = options.log_size and bool((pool.sizes != pool.sizes[0]).any())
    return PixelInput(size_px, channels, moments.mean, moments.std, options.fit, log_size), rows


def _moments_of_weights(model: str, channels: int) -> Moments:
    if model == LITE0:
        return Moments((lite0.MEAN,) * channels, (lite0.STD,) * channels)
    return Moments(*pretrained.mean_and_std(model.removeprefix(TORCHVISION), channels=channels))


def _train_from(options: Options, device: torch.device) -> int:
    if options.train_from != "auto":
        return options.train_from
    frozen = options.pretrained and options.model == LITE0 and device.type == "cpu"
    return TRAINED_ON_CPU if frozen else 0


def _spec(task: TrainTask[Options], input_: PixelInput, rows: Rows, device: torch.device) -> Spec:
    compact = task.options.model == COMPACT
    return Spec(
        model=task.options.model,
        size_px=input_.size_px,
        channels=input_.channels,
        classes=len(task.classes),
        log_size=statistics.size_moments(task.pool) if input_.log_size else None,
        pretrained=task.options.pretrained,
        train_from=_train_from(task.options, device),
        width=task.options.width,
        stem=whitening_filters(statistics.standardised_sample(rows, input_)) if compact else None,
    )
