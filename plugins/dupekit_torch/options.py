"""The options of the torch trainer, and which values they take."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from dupekit.errors import OptionError
from dupekit_torch.symmetries import symmetries

COMPACT = "compact"
TORCHVISION = "torchvision:"

_T = TypeVar("_T")


def _option(default: _T, text: str) -> _T:
    value: _T = field(default=default, metadata={"help": text})
    return value


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may set for a training. Raises OptionError for a value that cannot be meant."""

    model: str = _option(
        COMPACT,
        '"compact", our small convolutional network, or "torchvision:NAME", such as "torchvision:resnet18"',
    )
    pretrained: bool = _option(False, "begin with torchvision's pretrained weights (not for compact)")
    width: int = _option(32, "channels of the compact network's first stage")
    image_size: int = _option(
        0, "side of the square that images are fitted into, in pixels; 0: from the data"
    )
    fit: Literal["pad", "stretch"] = _option(
        "pad", "pad: keep the aspect ratio and fill the square; stretch: fill it by stretching"
    )
    channels: int = _option(0, "1: grey, 3: colour, 0: from the data")
    log_size: bool = _option(True, "feed the logarithms of width and height to the model beside the pixels")
    epochs: int = _option(0, "how often each image is seen; 0: by the number of images")
    batch_size: int = _option(0, "images a step; 0: by the number of images")
    learning_rate: float = _option(0.0, "at the top of the one-cycle schedule; 0: by the batch size")
    weight_decay: float = _option(0.3, "of Muon and AdamW, on convolutions and linear layers")
    label_smoothing: float = _option(0.1, "share of the target spread over all classes, 0 to below 1")
    class_balance: Literal["none", "sqrt", "full"] = _option(
        "none", "weight classes in the loss by 1, 1 / sqrt(images) or 1 / images"
    )
    flips: Literal["both", "horizontal", "none"] = _option("both", "mirror images at random in training")
    rotations: bool = _option(True, "turn images by 90 degrees at random in training")
    shift_px: int = _option(0, "move images at random by up to this many pixels in training")
    tta_views: int = _option(
        0,
        "predict each image as the mean over so many of its mirrored and turned views; 0: two if there are any",
    )
    precision: Literal["auto", "float32", "bfloat16"] = _option(
        "auto", "auto: bfloat16 autocast where the GPU or processor has it, else float32"
    )
    compile: Literal["auto", "on", "off"] = _option(
        "auto", "torch.compile; auto: on CUDA, and plain PyTorch where it fails"
    )
    pixels: Literal["auto", "resident", "stream"] = _option(
        "auto",
        "hold all pixels on the device, or bring batches from the cache; auto: hold them if they fit",
    )

    runs_at_once: int = _option(
        0, "trainings that go on side by side; 0: on CPU as many as the cores keep busy, on CUDA one"
    )

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_model()
        self._check_number("width", low=4, high=1024)
        self._check_number("image_size", low=16, high=1024, also=0)
        self._check_number("channels", low=0, high=3)
        if self.channels == 2:
            raise OptionError("channels is 2; valid are 1 (grey), 3 (colour) and 0 (from the data).")
        self._check_number("epochs", low=0, high=100_000)
        # Batch normalisation has nothing to normalise by in a batch of one.
        self._check_number("batch_size", low=2, high=65_536, also=0)
        self._check_number("learning_rate", low=0, high=100)
        self._check_number("weight_decay", low=0, high=100)
        self._check_number("label_smoothing", low=0, high=0.99)
        self._check_number("shift_px", low=0, high=256)
        self._check_number("runs_at_once", low=0, high=64)
        self._check_views()

    def _check_choices(self) -> None:
        hints = get_type_hints(Options)
        for entry in dataclasses.fields(self):
            value: Any = getattr(self, entry.name)
            choices = get_args(hints[entry.name])
            if choices and value not in choices:
                raise OptionError(f"{entry.name} is {value!r}; valid are {', '.join(choices)}.")

    def _check_model(self) -> None:
        if self.model == COMPACT:
            if self.pretrained:
                raise OptionError(
                    "pretrained is set, but the compact network has no pretrained weights.",
                    hint="Choose a model of torchvision, such as model=torchvision:resnet18.",
                )
        elif not self.model.startswith(TORCHVISION) or self.model == TORCHVISION:
            raise OptionError(
                f"model is {self.model!r}; valid are {COMPACT!r} and {TORCHVISION + 'NAME'!r}.",
                hint="NAME is one of torchvision's classifiers, as in torchvision:resnet18.",
            )

    def _check_views(self) -> None:
        trained = len(symmetries(flips=self.flips, rotations=self.rotations))
        if not 0 <= self.tta_views <= trained:
            raise OptionError(
                f"tta_views is {self.tta_views}; valid are 1 to {trained}, the views that training shows with"
                f" flips={self.flips} and rotations={str(self.rotations).lower()}, or 0 for automatic."
            )

    def _check_number(self, name: str, *, low: float, high: float, also: float | None = None) -> None:
        value = getattr(self, name)
        if value == also:
            return
        if not math.isfinite(value) or not low <= value <= high:
            or_also = "" if also is None else f", or {also:g} for automatic"
            raise OptionError(f"{name} is {value}; valid are {low:g} to {high:g}{or_also}.")
