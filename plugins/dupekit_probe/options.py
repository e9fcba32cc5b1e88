"""The options of the trainer "probe"."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from dupekit.api import Ge, Gt, Le, Lt, OptionError
from dupekit_nets.lite0 import LITE0

DEFAULT_BACKBONE = LITE0
AUTO = "auto"


class HeadKind(StrEnum):
    """A classifier on features: linear, or with a hidden layer; of the last layer, or of pools of earlier ones."""

    LINEAR = "linear"
    MLP = "mlp"
    LINEAR_POOLS = "linear-pools"
    MLP_POOLS = "mlp-pools"

    @property
    def of_pools(self) -> bool:
        return self in (HeadKind.LINEAR_POOLS, HeadKind.MLP_POOLS)

    @property
    def hidden(self) -> int:
        return HIDDEN if self in (HeadKind.MLP, HeadKind.MLP_POOLS) else 0


HIDDEN = 256
"""Units of a hidden layer."""


MIN_STEPS, MIN_BATCH = 128, 128
"""Of few images batches are smaller, down to the second, and then they are passed over more often than `epochs` says: so
many steps a head needs to form. With 1,331 images a half 150 steps of 128 ranked look-alike errors better than 75 of 256, which
cost the same (.719 against .705, mean of 3 seeds), and 300 of 256 little better (.723) for four times the time."""


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
    heads: str = _option(
        AUTO,
        f"classifiers whose probabilities are averaged, with commas between: {', '.join(HeadKind)};"
        f" {AUTO}: all that the backbone has features for",
    )
    epochs: Annotated[float, Gt(0), Le(10_000)] = _option(
        10.0, f"passes over the training half; {MIN_STEPS} steps are made at least"
    )
    learning_rate: Annotated[float, Gt(0), Le(10)] = _option(2e-3, "highest of the one-cycle schedule, AdamW")
    weight_decay: Annotated[float, Ge(0), Le(100)] = _option(4.0, "AdamW's")
    batch_size: Annotated[int, Ge(1), Le(65_536)] = _option(
        256, f"images per step and head; down to {MIN_BATCH} where that makes {MIN_STEPS} steps"
    )
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = _option(
        0.0, "part of each label that is spread over all classes"
    )
    log_size: bool = _option(True, "the image's log width and log height are features too")
    square_root: bool = _option(True, "signed square root of the features, before they are standardised")

    def head_kinds(self, *, with_pools: bool) -> tuple[HeadKind, ...]:
        """Those named, each once. `with_pools`: whether the backbone has features of earlier layers.

        Raises OptionError for names that are none, and for heads that have nothing to read.
        """
        if self.heads.strip() == AUTO:
            return tuple(kind for kind in HeadKind if with_pools or not kind.of_pools)
        named = dict.fromkeys(name.strip() for name in self.heads.split(","))
        valid = f"Heads are {', '.join(HeadKind)}, with commas between, or {AUTO}."
        unknown = [name for name in named if name not in list(HeadKind)]
        if unknown:
            raise OptionError(f"There is no head {unknown[0]!r} (heads={self.heads!r}).", hint=valid)
        kinds = tuple(HeadKind(name) for name in named)
        blind = [kind for kind in kinds if kind.of_pools and not with_pools]
        if blind:
            raise OptionError(
                f"The head {blind[0]!s} has nothing to read: the backbone {self.backbone} gives its last layer only.",
                hint=f"Leave it out, set heads={AUTO}, or take the backbone {DEFAULT_BACKBONE}.",
            )
        return kinds
