"""For authors of plugins: a tiny dataset, fakes that work, and checks of the contract in `dupekit.api`.

    from dupekit.testing import check_trainer

    def test_contract():
        check_trainer(MyTrainer, MyValidator)

The checks raise PluginError listing all that is broken. What they cannot see: whether a
plugin leaks memory, uses the GPU it is told to, or is any good on real images.
"""

from __future__ import annotations

from dupekit.plugin.options import options_for
from dupekit.testing.data import load_images, make_dataset, make_jobs, register
from dupekit.testing.executors import check_executor
from dupekit.testing.fakes import Call, CentroidTrainer, CentroidValidator, Recorder
from dupekit.testing.trainers import check_trainer
from dupekit.testing.validators import check_validator

__all__ = [
    "Call",
    "CentroidTrainer",
    "CentroidValidator",
    "Recorder",
    "check_executor",
    "check_trainer",
    "check_validator",
    "load_images",
    "make_dataset",
    "make_jobs",
    "options_for",
    "register",
]
