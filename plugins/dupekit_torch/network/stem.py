"""The compact network's first filters: they whiten small patches of images, and follow from the pixels alone, so that no
training has to find them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 5e-4
"""Added to the variances, so that directions that hardly occur are not blown up to noise."""


def stem_shape(size_px: int) -> tuple[int, int]:
    """Side and stride of the filters.

    Above 40 pixels they halve the image: the first stage is most of the cost, and cut-outs of that size are mostly
    blown-up detail.
    """
    return (3, 2) if size_px > 40 else (2, 1)


def whitening_filters(images: Iterable[Tensor]) -> Tensor:
    """Standardised images (c, s, s) float32, one or more -> filters (2 c side², c, side, side) float32.

    They are the eigenvectors of the second moments of square patches, divided by the square root of the eigenvalues, and
    the same negated, so that a rectifier after them loses nothing. As in airbench (K. Jordan, 2024).
    """
    moments, count = torch.zeros((), dtype=torch.float64), 0
    for image in images:
        channels = len(image)
        side, stride = stem_shape(image.shape[-1])
        patches = functional.unfold(image[None], side, stride=stride)[0].double()
        moments = moments + patches @ patches.T
        count += patches.shape[1]
    values, vectors = torch.linalg.eigh(moments / count)
    filters = (vectors / (values.clamp(min=0) + EPSILON).sqrt()).T.reshape(-1, channels, side, side).float()
    return torch.cat([filters, -filters])
