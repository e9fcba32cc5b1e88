"""What the frozen blocks of a network make of each image, computed once for all trainings of a project.

An image is seen from a few fixed sides, and training shows it from those alone. The maps lie in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dupekit.api import RULES, Images, PixelInput, Progress, Rows, TrainTask, in_order
from dupekit_torch.network.classifier import Spec, build
from dupekit_torch.network.lite0 import Lite0
from dupekit_torch.options import Options
from dupekit_torch.pixels.augment import views
from dupekit_torch.pixels.statistics import standardised

MOST_VIEWS = 4
"""More cost more than they gain where rounds are short."""

MOST_BYTES = 8 * 2**30
"""Of all maps, in the cache. Where even one view an image is more, the frozen blocks run at every step."""

_HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    rows: Rows
    """Of the pool: (views, side, side, channels) float16."""
    codes: tuple[int, ...]
    """The symmetry of each view."""


def cached_maps(
    task: TrainTask[Options],
    spec: Spec,
    given: PixelInput,
    codes: Sequence[int],
    *,
    device: torch.device,
    autocast: bool,
    progress: Progress,
) -> Maps | None:
    """The maps of the pool under the first of the symmetries `codes`, as many as fit; None where none does."""
    network = build(spec, seed=0).eval().to(device)
    network.to(memory_format=torch.channels_last)
    first = _Frozen(network.trunk, given, device, autocast)
    shape = first(np.zeros((1, spec.size_px, spec.size_px, spec.channels), np.uint8), codes[:1]).shape[1:]
    shown = _views_that_fit(codes, len(task.pool) * int(np.prod(shape)) * 2)
    if not shown:
        return None
    name = (
        f"maps-{spec.model}-{spec.train_from}-{spec.size_px}-{given.fit}-{'grey' if spec.channels == 1 else 'rgb'}"
        f"-{'-'.join(map(str, shown))}-{'bfloat16' if autocast else 'float32'}-{RULES}"
    )

    def compute(missing: Images) -> Iterator[NDArray[np.float16]]:
        pixels = task.cache.pixels(missing, size_px=given.size_px, channels=given.channels, fit=given.fit)
        return first.of_all(pixels.batches(512), shown)

    array = task.cache.array(name, (len(shown), *shape[1:]), np.float16)
    return Maps(array.fill(task.pool, compute, stage="frozen blocks", progress=progress), shown)


def _views_that_fit(codes: Sequence[int], view_bytes: int) -> tuple[int, ...]:
    """A power of two of them: training goes through all in turn."""
    count = min(len(codes), MOST_VIEWS)
    while count and count * view_bytes > MOST_BYTES:
        count //= 2
    return tuple(codes[:count])


class _Frozen:
    """The frozen part of a network, on a device."""

    def __init__(
        self, trunk: torch.nn.Module, given: PixelInput, device: torch.device, autocast: bool
    ) -> None:
        assert isinstance(trunk, Lite0)
        self._trunk, self._given, self._device, self._autocast = trunk, given, device, autocast
        # A thread a core takes small parts that stay in the processor's cache; a GPU wants much at once.
        self._lanes, self._batch = (1, 256) if device.type == "cuda" else (torch.get_num_threads(), 8)

    def of_all(
        self, squares: Iterator[NDArray[np.uint8]], codes: Sequence[int]
    ) -> Iterator[NDArray[np.float16]]:
        parts = (
            block[at : at + self._batch] for block in squares for at in range(0, len(block), self._batch)
        )
        one_thread = (torch.set_num_threads, (1,)) if self._device.type == "cpu" else (None, ())
        with ThreadPoolExecutor(self._lanes, "maps", *one_thread) as pool:
            yield from in_order(pool, lambda part: self(part, codes), parts, ahead=2 * self._lanes)

    def __call__(self, pixels: NDArray[np.uint8], codes: Sequence[int]) -> NDArray[np.float16]:
        """(n, s, s, channels) -> (n, views, side, side, channels)."""
        seen = views(standardised(pixels, self._given).to(self._device), codes)
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast),
        ):
            maps = self._trunk.first(seen.contiguous(memory_format=torch.channels_last))
        halves = maps.float().clamp(-_HALF_MAX, _HALF_MAX).half().permute(0, 2, 3, 1)
        return halves.reshape(len(codes), len(pixels), *halves.shape[1:]).transpose(0, 1).cpu().numpy()
