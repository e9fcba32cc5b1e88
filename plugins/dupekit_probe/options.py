"""The options of the trainer "probe"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from dupekit.api import Ge, Gt, Le, Lt

DEFAULT_BACKBONE = "efficientnet-lite0"
MIN_STEPS = 300
"""Tiny datasets are passed over more often than `epochs` says: a head needs about this many steps to form,
and on 1,300 to 2,500 images a half it was also where more brought nothing."""


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    backbone: str = _option(
        DEFAULT_BACKBONE, 'frozen network: this, "torchvision:NAME", or the path of an ONNX file'
    )
    image_size: Annotated[int, Ge(32), Le(4096)] = _option(
        224, "pixels; images are fitted into a square of this size"
    )
    epochs: Annotated[float, Gt(0), Le(10_000)] = _option(
        10.0, f"passes over the training half; {MIN_STEPS} steps are made at least"
    )
    learning_rate: Annotated[float, Gt(0), Le(10)] = _option(1e-3, "highest of the one-cycle schedule, AdamW")
    weight_decay: Annotated[float, Ge(0), Le(100)] = _option(0.05, "AdamW's")
    batch_size: Annotated[int, Ge(1), Le(65_536)] = _option(64, "images per step and head")
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = _option(
        0.0, "part of each label that is spread over all classes"
    )
    log_size: bool = _option(True, "the image's log width and log height are features too")
    square_root: bool = _option(True, "signed square root of the features, before they are standardised")
