"""torchvision's classifiers and their pretrained weights, for every plugin that begins with one.

Importing this loads neither torch nor torchvision; calling its functions does. All of them raise OptionError
for a name that torchvision does not know, and PluginError where torchvision is not installed.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import statistics
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from dupekit.api import OptionError, PluginError

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = "torchvision:"
"""What the name of a network of torchvision begins with in an option."""

_LOADING = threading.Lock()
"""Held while weights are loaded: the switches for it belong to the process."""

_SAFE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def trunk(name: str, *, pretrained: bool) -> nn.Module:
    """The network without its last layer, with its default pretrained weights or with random ones.

    Weights come through torchvision's own loading: from torch's hub folder, else downloaded into it. No code
    that a file holds is run. Also raises OptionError for a network without such a layer, PluginError where
    the weights cannot be had.
    """
    models = _models_with(name)
    if pretrained:
        weights = models.get_model_weights(name).DEFAULT
        with _safe_loading(name, weights.url):
            network: Any = models.get_model(name, weights=weights, progress=False)
    else:
        # These two have an initialisation that warns unless it is chosen.
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        network = models.get_model(name, weights=None, **extra)
    if hasattr(network, "aux_logits"):  # the same two: further heads, used in training only
        network.aux_logits = False
        for part in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, part):
                setattr(network, part, None)
    return _without_head(network, name)


def mean_and_std(name: str, *, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What pixels / 255 were standardised with when the default weights were trained, a value a channel.

    For grey images (`channels=1`) the mean over the three colours.
    """
    preset = _models_with(name).get_model_weights(name).DEFAULT.transforms()
    mean, std = tuple(map(float, preset.mean)), tuple(map(float, preset.std))
    return (mean, std) if channels == 3 else ((statistics.fmean(mean),), (statistics.fmean(std),))


def _models_with(name: str) -> Any:
    """torchvision.models, which has a classifier of this name."""
    try:
        from torchvision import models
    except ImportError as error:
        raise PluginError(
            f"torchvision:{name} cannot be made: {error}",
            hint='Install it with the extra torch; in a clone of dupekit: pip install -e ".[torch]"',
        ) from None
    known = models.list_models(module=models)  # without those for detection, segmentation and video
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
        raise OptionError(
            f"torchvision has no classifier {name!r}.",
            hint=f"Of its {len(known)} these are near: {', '.join(near)}. All: torchvision.models.list_models()"
            if near
            else f"It has {len(known)}, such as resnet18 and efficientnet_b0: torchvision.models.list_models()",
        )
    return models


def _without_head(network: nn.Module, name: str) -> nn.Module:
    """The same network, an identity in the place of its last layer, which gives ImageNet's 1000 classes."""
    from torch import nn

    heads = [
        path
        for path, module in network.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == 1000)
        or (isinstance(module, nn.Conv2d) and module.out_channels == 1000)  # SqueezeNet's
    ]
    if not heads:
        raise OptionError(
            f"torchvision:{name} has no layer of 1000 classes at its end that could be taken off.",
            hint="Choose another network.",
        )
    network.set_submodule(heads[-1], nn.Identity())
    return network


@contextlib.contextmanager
def _safe_loading(name: str, url: str) -> Iterator[None]:
    """Lets torchvision load weights by its own path, but never run code from the file.

    torchvision calls `torch.load` with weights_only=False; PyTorch's own switch overrules it. Its message
    about a download goes to stderr: stdout belongs to the command's output.
    """
    import torch

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    try:
        with _LOADING, _switched_to_safe(), contextlib.redirect_stdout(sys.stderr):
            yield
    except OSError as error:  # URLError is one
        raise _not_at_hand(name, url, file, str(error)) from error
    # torch.load raises nearly anything on a damaged file: EOFError, KeyError, UnicodeDecodeError, struct.error …
    except Exception as error:
        reason = _in_short(error)
        if not file.is_file():  # the hash of what was downloaded was wrong, and it is gone again
            raise _not_at_hand(name, url, file, reason) from error
        raise PluginError(
            f"{file} is damaged, or holds other than this model's weights: {reason}",
            hint=f"Delete it, and download {url} again.",
        ) from error


@contextlib.contextmanager
def _switched_to_safe() -> Iterator[None]:
    before = {
        switch: os.environ.pop(switch, None) for switch in (_SAFE, _UNSAFE)
    }  # both at once are an error
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        for switch, value in before.items():
            os.environ.pop(switch, None)
            if value is not None:
                os.environ[switch] = value


def _in_short(error: Exception) -> str:
    """What is wrong with a file, without PyTorch's advice on how to load it nevertheless, and unsafely."""
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip() or type(error).__name__
    return reason.partition("\n")[0].partition(". Please use ")[0]


def _not_at_hand(name: str, url: str, file: Path, reason: str) -> PluginError:
    return PluginError(
        f"The pretrained weights of torchvision:{name} are not at hand and cannot be downloaded: {reason}",
        hint=f"Download {url} on another computer and put it at {file}",
    )
