"""The options of the torch trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from dupekit.api import Ge, Le, Lt, OptionError
from dupekit_nets.lite0 import BLOCKS, LITE0
from dupekit_nets.pretrained import TORCHVISION
from dupekit_torch.pixels.symmetries import symmetries

COMPACT = "compact"

_T = TypeVar("_T")


def _option(default: _T, text: str) -> _T:
    value: _T = field(default=default, metadata={"help": text})
    return value


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may set for a training. Raises OptionError for options that contradict each other."""

    model: str = _option(
        COMPACT,
        '"compact", our small convolutional network, "efficientnet-lite0", or "torchvision:NAME", such as'
        ' "torchvision:resnet18"',
    )
    pretrained: bool = _option(
        False,
        "begin with weights trained on ImageNet: those of efficientnet-lite0 come with a package, those of torchvision's"
        " networks through torchvision; compact has none",
    )
    train_from: Literal["auto"] | Annotated[int, Ge(0), Le(BLOCKS)] = _option(
        "auto",
        f"of a pretrained efficientnet-lite0 train the blocks from this one on, of {BLOCKS}, and keep those before it as"
        " they are; 0: train all of it; auto: all on CUDA, the last blocks on CPU",
    )
    width: Annotated[int, Ge(4), Le(1024)] = _option(32, "channels of the compact network's first stage")
    image_size: Literal[0] | Annotated[int, Ge(16), Le(1024)] = _option(
        0, "side of the square that images are fitted into, in pixels; 0: from the data"
    )
    fit: Literal["pad", "stretch"] = _option(
        "pad", "pad: keep the aspect ratio and fill the square; stretch: fill it by stretching"
    )
    channels: Literal[0, 1, 3] = _option(0, "1: grey, 3: colour, 0: from the data")
    log_size: bool = _option(True, "feed the logarithms of width and height to the model beside the pixels")
    epochs: Annotated[int, Ge(0), Le(100_000)] = _option(
        0, "how often each image is seen; 0: by the number of images"
    )
    # Batch normalisation has nothing to normalise by in a batch of one.
    batch_size: Literal[0] | Annotated[int, Ge(2), Le(65_536)] = _option(
        0, "images a step; 0: by the number of images"
    )
    learning_rate: Annotated[float, Ge(0), Le(100)] = _option(
        0.0, "at the top of the one-cycle schedule; 0: by the batch size"
    )
    weight_decay: Annotated[float, Ge(0), Le(100)] = _option(
        0.3, "of Muon and AdamW, on convolutions and linear layers"
    )
    label_smoothing: Literal["auto"] | Annotated[float, Ge(0), Lt(1)] = _option(
        "auto",
        "share of the target spread over all classes; auto: 0.1, and 0 where pretrained weights are tuned",
    )
    trust: Annotated[float, Ge(0), Le(4)] = _option(
        0.0, "images count in the loss by the probability of their given label to this power; 0: all the same"
    )
    class_balance: Literal["none", "sqrt", "full"] = _option(
        "none", "weight classes in the loss by 1, 1 / sqrt(images) or 1 / images"
    )
    flips: Literal["both", "horizontal", "none"] = _option("both", "mirror images at random in training")
    rotations: bool = _option(True, "turn images by 90 degrees at random in training")
    shift_px: Annotated[int, Ge(0), Le(256)] = _option(
        0, "move images at random by up to this many pixels in training"
    )
    tta_views: Annotated[int, Ge(0), Le(8)] = _option(
        0,
        "predict each image as the mean over so many of its mirrored and turned views; 0: two if there are any",
    )
    precision: Literal["auto", "float32", "bfloat16"] = _option(
        "auto", "auto: bfloat16 autocast where the GPU or processor has it, else float32"
    )
    compile: Literal["auto", "on", "off"] = _option(
        "auto",
        "torch.compile, and on CUDA a step as one CUDA graph; auto: on CUDA, and plain PyTorch where it fails",
    )
    pixels: Literal["auto", "resident", "stream"] = _option(
        "auto",
        "hold all pixels on the device, or bring batches from the cache; auto: hold them if they fit",
    )

    runs_at_once: Annotated[int, Ge(0), Le(64)] = _option(
        0,
        "trainings that go on side by side; 0: on CPU as many as the cores keep busy, on CUDA as many as fit, up to four",
    )

    def __post_init__(self) -> None:
        self._check_model()
        self._check_views()

    def _check_model(self) -> None:
        if self.model == COMPACT:
            if self.pretrained:
                raise OptionError(
                    "pretrained is set, but the compact network has no pretrained weights.",
                    hint="Choose model=efficientnet-lite0, or one of torchvision, such as model=torchvision:resnet18.",
                )
        elif self.model != LITE0 and (not self.model.startswith(TORCHVISION) or self.model == TORCHVISION):
            raise OptionError(
                f"model is {self.model!r}; valid are {COMPACT!r}, {LITE0!r} and {TORCHVISION + 'NAME'!r}.",
                hint="NAME is one of torchvision's classifiers, as in torchvision:resnet18.",
            )
        if self.train_from not in ("auto", 0) and not (self.model == LITE0 and self.pretrained):
            raise OptionError(
                f"train_from is {self.train_from}, but only a pretrained {LITE0} has blocks to keep as they are.",
                hint=f"Set model={LITE0} and pretrained=true, or leave train_from out.",
            )

    def _check_views(self) -> None:
        trained = len(symmetries(flips=self.flips, rotations=self.rotations))
        if self.tta_views > trained:
            raise OptionError(
                f"tta_views is {self.tta_views}; valid are 1 to {trained}, the views that training shows with"
                f" flips={self.flips} and rotations={str(self.rotations).lower()}, or 0 for automatic."
            )
