"""The options of the torch trainer."""

from __future__ import annotations

from typing import Any

import pytest

from dupekit.api import OptionError
from dupekit.plugin.options import options_for
from dupekit_torch import Options, TorchTrainer


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"model": "resnet18"},
            "model is 'resnet18'; valid are 'compact', 'efficientnet-lite0' and 'torchvision:NAME'",
        ),
        (
            {"train_from": 11, "model": "efficientnet-lite0"},
            "only a pretrained efficientnet-lite0 has blocks",
        ),
        (
            {"train_from": 11, "pretrained": True, "model": "torchvision:resnet18"},
            "train_from is 11, but only",
        ),
        ({"train_from": 17}, "train_from=17: it must be auto, or a whole number from 0 to 16"),
        ({"trust": 5}, "trust=5: it must be a number from 0 to 4"),
        ({"model": "torchvision:"}, "model is 'torchvision:'"),
        ({"pretrained": True}, "compact network has no pretrained weights"),
        ({"image_size": 8}, "image_size=8: it must be 0, or a whole number from 16 to 1024"),
        ({"channels": 2}, "channels=2: it must be one of 0, 1, 3"),
        ({"batch_size": 1}, "batch_size=1: it must be 0, or a whole number from 2 to 65536"),
        ({"epochs": -1}, "epochs=-1: it must be a whole number from 0 to 100000"),
        ({"width": 0}, "width=0: it must be a whole number from 4 to 1024"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: it must be a number from 0 to 100"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: it must be auto, or a number from 0 to below 1"),
        ({"shift_px": -1}, "shift_px=-1"),
        ({"class_balance": "half"}, "class_balance='half': it must be one of none, sqrt, full"),
        ({"tta_views": 9}, "tta_views=9: it must be a whole number from 0 to 8"),
        (
            {"tta_views": 3, "flips": "horizontal", "rotations": False},
            "tta_views is 3; valid are 1 to 2, the views",
        ),
        ({"compile": "maybe"}, "compile='maybe': it must be one of auto, on, off"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        options_for(TorchTrainer, values)
    assert text in caught.value.message


def test_options_from_the_command_line() -> None:
    made = options_for(TorchTrainer, {"epochs": "4", "rotations": "false", "flips": "none"})
    assert made == Options(epochs=4, rotations=False, flips="none")
    with pytest.raises(OptionError, match="batch_size='1'"):
        options_for(TorchTrainer, {"batch_size": "1"})
    with pytest.raises(OptionError, match="class_balance"):
        options_for(TorchTrainer, {"class_balance": "half"})
