"""The options of the trainer "probe", and which values they take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dupekit.errors import OptionError

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
    image_size: int = _option(224, "pixels; images are fitted into a square of this size")
    epochs: float = _option(10.0, f"passes over the training half; {MIN_STEPS} steps are made at least")
    learning_rate: float = _option(1e-3, "highest of the one-cycle schedule, AdamW")
    weight_decay: float = _option(0.05, "AdamW's")
    batch_size: int = _option(64, "images per step and head")
    label_smoothing: float = _option(0.0, "part of each label that is spread over all classes")
    log_size: bool = _option(True, "the image's log width and log height are features too")
    square_root: bool = _option(True, "signed square root of the features, before they are standardised")

    def __post_init__(self) -> None:
        _require(bool(self.backbone), "backbone", self.backbone, "not be empty")
        _require(32 <= self.image_size <= 4096, "image_size", self.image_size, "be from 32 to 4096")
        _require(0 < self.epochs <= 10_000, "epochs", self.epochs, "be above 0 and at most 10000")
        _require(0 < self.learning_rate <= 10, "learning_rate", self.learning_rate, "be above 0, at most 10")
        _require(0 <= self.weight_decay <= 100, "weight_decay", self.weight_decay, "be from 0 to 100")
        _require(1 <= self.batch_size <= 65536, "batch_size", self.batch_size, "be from 1 to 65536")
        _require(
            0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "be from 0 to below 1"
        )


def _require(good: bool, name: str, value: object, what: str) -> None:
    if not good:
        raise OptionError(f"{name}={value!r} will not do: it must {what}.")
