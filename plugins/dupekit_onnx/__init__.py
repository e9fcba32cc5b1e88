"""Validator "onnx": predicts held-out images with an ONNX model, on a GPU or a CPU, through onnxruntime.

The model's file says itself what it reads (`dupekit.api.model_metadata`), so one validator serves
networks that read pixels and heads that read features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dupekit.api import Ge, Model, PixelInput, PluginError, PredictTask, Progress, read_metadata, stage
from dupekit_nets.engine import batch_size, open_session, output, run_all
from dupekit_nets.feeds import cached_features, check_pixels, standardised

__all__ = ["OnnxOptions", "OnnxValidator"]

_HEADS_BATCH = 4096
"""Images a batch of a head: so small that what a batch costs is mostly the call."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    batch_size: Annotated[int, Ge(0)] = field(
        default=0, metadata={"help": "images per batch; 0: by their size and the device"}
    )


class OnnxValidator:
    api_version: ClassVar[int] = 1
    Options: ClassVar[type] = OnnxOptions
    accepts: ClassVar[frozenset[str]] = frozenset({"onnx"})

    def predict(self, task: PredictTask[OnnxOptions], progress: Progress) -> Iterator[NDArray[np.float32]]:
        """Class probabilities, a block a batch: shape (k, len(model.classes)), float32; rows sum to 1.

        Raises PluginError where the file is no such model, contradicts `task.model`, refers to other
        files, or gives what are not probabilities; CacheError where features are missing; OptionError and
        UsageError as `open_session`.
        """
        with stage(progress, "opening the model"):
            # On an H100 2.5 times as fast; no probability of the compact network moved by more than 3.1e-5.
            session = open_session(task.model.path, device=task.device, tf32=True)
        _check(session, task.model)
        done = 0
        for block in run_all(
            session, lambda feed: _run(session, feed, task.model), _feeds(task, session, progress)
        ):
            done += len(block)
            progress("predicting", done, len(task.rows))
            yield block


def _check(session: Any, model: Model) -> None:
    """Raises PluginError where file, metadata and `model` do not agree."""
    classes, given = read_metadata(session.get_modelmeta().custom_metadata_map)
    if classes != model.classes or given != model.input:
        what = "classes" if classes != model.classes else "input"
        raise PluginError(
            f"{model.path} says of its {what} otherwise than the trainer that made it.",
            hint="A trainer builds one Model and writes dupekit.api.model_metadata of it into the file.",
        )
    if isinstance(given, PixelInput):
        check_pixels(given)
    asked = {entry.name for entry in session.get_inputs()}
    promised: set[str] = {given.kind, "log_size"} if given.log_size else {given.kind}
    if asked != promised or len(session.get_outputs()) != 1:
        raise PluginError(
            f"{model.path} reads {_listed(asked)} and gives {len(session.get_outputs())} outputs;"
            f" by its metadata it reads {_listed(promised)} and gives one."
        )


def _feeds(
    task: PredictTask[OnnxOptions], session: Any, progress: Progress
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The input of each batch."""
    if not len(task.rows):
        return
    given, images = task.model.input, task.pool.take(task.rows)
    if isinstance(given, PixelInput):
        size = task.options.batch_size or batch_size(session, given.channels * given.size_px**2)
        rows = task.cache.pixels(
            images, size_px=given.size_px, channels=given.channels, fit=given.fit, progress=progress
        )
    else:
        size = task.options.batch_size or _HEADS_BATCH
        rows = cached_features(task.cache, images, given.features)
        dim = next(entry.shape[1] for entry in session.get_inputs() if entry.name == "features")
        if isinstance(dim, int) and dim != rows.shape[1]:
            raise PluginError(
                f"{task.model.path} reads {dim} features, and {given.features!r} holds {rows.shape[1]}."
            )
    for number, batch in enumerate(rows.batches(size)):
        start = number * size
        feed: dict[str, NDArray[np.float32]] = {
            given.kind: standardised(batch, given.mean, given.std)
            if isinstance(given, PixelInput)
            else batch.astype(np.float32)
        }
        if given.log_size:
            feed["log_size"] = images[start : start + len(batch)].log_sizes()
        yield feed


def _run(session: Any, feed: dict[str, NDArray[np.float32]], model: Model) -> NDArray[np.float32]:
    try:
        rows = np.asarray(output(session, feed), np.float32)
    except Exception as error:  # onnxruntime's exceptions have no common base but this
        raise PluginError(f"{model.path} failed: {error}") from None
    expected = (len(feed[model.input.kind]), len(model.classes))
    if rows.shape != expected:
        raise PluginError(f"{model.path} gave an array of shape {rows.shape}, not {expected}.")
    total = rows.sum(axis=1, keepdims=True, dtype=np.float64)
    # Far from 1 are logits; a sum a little off is half precision's, and is mended.
    if not np.isfinite(rows).all() or (rows < 0).any() or (np.abs(total - 1) > 0.01).any():
        raise PluginError(
            f"{model.path} gave what are not probabilities: negative, not finite, or not summing to 1.",
            hint="Does the model end with a softmax over the classes? Did the training diverge?",
        )
    mended: NDArray[np.float32] = (rows / total).astype(np.float32)
    return mended


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
