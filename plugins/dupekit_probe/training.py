"""From tasks to models: features, scaling, heads, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dupekit.api import FeatureInput, Model, PluginError, Progress, TrainTask, UsageError, stage
from dupekit_nets.engine import threads
from dupekit_probe.backbone import Backbone, compute_features, open_backbone
from dupekit_probe.head_file import write_heads
from dupekit_probe.heads import Problem, Recipe, Trained, train_heads
from dupekit_probe.options import HeadKind, ProbeOptions
from dupekit_probe.prepared import Prepared, prepare


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
        prepared = prepare(rows, first.pool, options, backbone.pools)

    def tell(done: int, total: int) -> None:
        progress("training", done, total)
        if progress.cancelled:
            raise InterruptedError("nobody waits for these trainings any more")

    found = train_heads(
        prepared.matrix,
        [Problem(task.rows, task.labels.astype(np.int64), task.seed, task.weights) for task in tasks],
        shapes=[prepared.shape(kind) for kind in kinds],
        classes=len(first.classes),
        recipe=_recipe(options),
        device=device.result(),
        threads=threads(),
        progress=tell,
    )
    for task, trained in zip(tasks, found, strict=True):
        yield _written(task, trained, kinds, backbone, prepared)


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
    prepared: Prepared,
) -> Model:
    heads = [prepared.of_features(head) for head in trained.heads]
    layers = [layer for head in heads for layer in head.layers]
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
    write_heads(model, heads, prepared.scaling, dim=backbone.dim)
    return model


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
