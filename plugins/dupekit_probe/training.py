"""From tasks to models: features, scaling, heads, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dupekit.api import FeatureInput, Images, Model, PluginError, Progress, Rows, TrainTask, UsageError, stage
from dupekit_nets.engine import threads
from dupekit_probe.backbone import Backbone, compute_features, open_backbone
from dupekit_probe.head_file import Scaling, write_heads
from dupekit_probe.heads import Problem, Recipe, Trained, train_heads
from dupekit_probe.networks import Shape
from dupekit_probe.options import HeadKind, ProbeOptions

_CHUNK = 8192
_FULL_PRECISION_BYTES = 2**30
"""Above it, features stay in half precision in memory: 3.4 kB an image instead of 6.9."""


def train_tasks(tasks: Sequence[TrainTask[ProbeOptions]], progress: Progress) -> Iterator[Model]:
    """A model for each task, in order; see `ProbeTrainer.train_many`."""
    if not tasks:
        return
    first = tasks[0]
    options = first.options
    empty = next((task.name for task in tasks if not len(task.rows)), None)
    if empty is not None:
        raise PluginError(f"The run {empty} has no images to train on.")
    with stage(progress, "reading the backbone"):
        backbone = open_backbone(
            options.backbone, size_px=options.image_size, cache=first.cache, device=first.device
        )
    kinds = options.head_kinds(with_pools=backbone.pools > 0)
    with ThreadPoolExecutor(1) as beside:  # importing torch takes seconds, unless making the backbone did
        device = beside.submit(_torch_device, first.device)
        rows = compute_features(backbone, first.pool, first.cache, progress)
        with stage(progress, "importing PyTorch"):
            device.result()
    with stage(progress, "preparing"):
        matrix, scaling = _prepared(rows, first.pool, options, backbone.pools)

    def tell(done: int, total: int) -> None:
        progress("training", done, total)
        if progress.cancelled:
            raise InterruptedError("nobody waits for these trainings any more")

    found = train_heads(
        matrix,
        [Problem(task.rows, task.labels.astype(np.int64), task.seed, task.weights) for task in tasks],
        shapes=[_shape(kind, backbone, options) for kind in kinds],
        classes=len(first.classes),
        recipe=_recipe(options),
        device=device.result(),
        threads=threads(),
        progress=tell,
    )
    for task, trained in zip(tasks, found, strict=True):
        yield _written(task, trained, kinds, backbone, scaling)


def _shape(kind: HeadKind, backbone: Backbone, options: ProbeOptions) -> Shape:
    """The prepared features are earlier pools, log size, last layer: both parts have the size beside them."""
    sizes = 2 * options.log_size
    columns = (
        slice(0, backbone.pools + sizes) if kind.of_pools else slice(backbone.pools, backbone.dim + sizes)
    )
    return Shape(columns, kind.hidden)


def _recipe(options: ProbeOptions) -> Recipe:
    return Recipe(
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        batch_size=options.batch_size,
        label_smoothing=options.label_smoothing,
    )


def _written(
    task: TrainTask[ProbeOptions],
    trained: Trained,
    kinds: Sequence[HeadKind],
    backbone: Backbone,
    scaling: Scaling,
) -> Model:
    layers = [layer for head in trained.heads for layer in head.layers]
    if not all(np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all() for layer in layers):
        raise PluginError(
            f"The training of {task.name} diverged.",
            hint=f"Lower learning_rate; its default is {ProbeOptions().learning_rate}.",
        )
    options = task.options
    model = Model(
        path=task.workdir / "model.onnx",
        format="onnx",
        classes=task.classes,
        input=FeatureInput(backbone.cached_as, log_size=options.log_size),
        notes={
            "backbone": options.backbone,
            "heads": [str(kind) for kind in kinds],
            "steps": trained.steps,
            "loss": round(trained.loss, 4),
        },
    )
    write_heads(model, trained.heads, scaling, dim=backbone.dim)
    return model


def _prepared(rows: Rows, pool: Images, options: ProbeOptions, pools: int) -> tuple[NDArray[Any], Scaling]:
    """Standardised features of the pool, shape (n, dim [+ 2]), and the scaling that made them.

    Mean and deviation are those of the whole pool, held-out images included: no label has a part in them.
    """
    count, dim = rows.shape
    wide = dim + 2 * options.log_size
    dtype = np.float32 if 4 * count * wide <= _FULL_PRECISION_BYTES else np.float16
    total, squares = np.zeros(wide), np.zeros(wide)
    for start in range(0, count, _CHUNK):
        wide_part = _raw(rows, pool, start, options, pools).astype(np.float64)
        total += wide_part.sum(0)
        squares += np.square(wide_part).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std[std < 1e-4] = 1.0  # constant features carry nothing; dividing would only amplify rounding
    scaling = Scaling(mean.astype(np.float32), std.astype(np.float32), options.square_root, pools)
    matrix = np.empty((count, wide), dtype)
    for start in range(0, count, _CHUNK):
        part = _raw(rows, pool, start, options, pools)
        matrix[start : start + len(part)] = (part - scaling.mean) / scaling.std
    return matrix, scaling


def _raw(rows: Rows, pool: Images, start: int, options: ProbeOptions, pools: int) -> NDArray[np.float32]:
    part: NDArray[np.float32] = rows[start : start + _CHUNK].astype(np.float32)
    if options.square_root:  # F. Perronnin et al. (ECCV 2010): evens out features that rarely fire
        np.copysign(np.sqrt(np.abs(part)), part, out=part)
    if options.log_size:
        sizes = pool[start : start + len(part)].log_sizes()
        part = np.concatenate([part[:, :pools], sizes, part[:, pools:]], axis=1)
    return part


def _torch_device(device: str) -> str:
    """The device for torch; `open_session` has refused what is no device at all."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and torch.cuda.device_count() <= int(device.partition(":")[2] or 0):
        raise UsageError(
            f"The device {device!r} cannot be used: torch sees {torch.cuda.device_count()} GPUs.",
            hint='Set the device to "auto" or "cpu".',
        )
    return device
