"""Small grey squares -> which images are nearly the same: saved anew, moved by a pixel or two, mirrored, turned.

Two steps. A hash of 63 bits names candidates: sorted by it, near-copies stand close together, so that a million images need
neither the memory nor the time of all their pairs. Then the squares themselves are compared, since alone the hash takes one
grey blob on plain ground for another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.cache import Rows
from dupekit.dataset.columns import numbered
from dupekit.system.progress import Progress, silent

SQUARE_PX = 64
"""Squares hold images with their aspect ratio kept, larger ones shrunk, smaller ones as they are."""
ALIKE = 0.993
"""From this similarity on two images are nearly the same. Among 3.5 million pairs of different plankton images, the highest
was .9924; of planted near-copies 94 to 100 % lie above: benchmarks/near_duplicates.py."""
ALIKE_GRAIN = 0.9
"""... where unsmoothed they are so similar, too: noise of its own makes another image."""
SMALLEST_PX = 24
"""Of a smaller image, by its shorter side, only identical copies are found: too little can be seen in it. Of handwritten digits
of 8 pixels nearly every second one was like another."""
SIZES_DIFFER_PX, SIZES_DIFFER = 2, 0.02
"""By so many pixels, or by this share, widths and heights may differ."""

_LOW = 8
"""Frequencies of the hash, each way."""
_ORDERS, _AHEAD = 16, 8
"""So often the hashes are sorted, each time with their bits in another order; and so many that follow are compared."""
_SPECTRA_DIFFER = 0.02
"""Of their strength. Squares of the similarity ALIKE differ by at most 2 * (1 - ALIKE) of theirs, at whatever shift."""
_SHIFT_PX = 2
_PART = 512
"""Pairs compared at a time."""
_SQUARES, _PAIRS = 1024, 16384
"""Looked at at a time."""
_FAINT = 1e-3 / SQUARE_PX**2
"""In place of the root of a lower strength: of a square of one grey."""
_NOISE = 0.02
"""Added to a square's variance (grey levels squared): where nearly nothing is to be seen, noise alone is no likeness."""


@dataclass(frozen=True, slots=True)
class Twin:
    """Another image of a round that is the same, or nearly. Path and label are escaped text."""

    path: str
    label: str
    identical: bool


def comparable(sizes: NDArray[np.integer], digests: Sequence[str]) -> NDArray[np.int64]:
    """The rows of the images that `near_duplicates` compares, ascending: large enough, and of identical ones the first.

    `sizes` (n, 2) are widths and heights of the images.
    """
    _, first = np.unique(numbered(digests), return_index=True)
    rows = np.sort(first)
    large: NDArray[np.int64] = rows[(sizes[rows] >= SMALLEST_PX).all(axis=1)]
    return large


def near_duplicates(
    squares: Rows | NDArray[np.uint8],
    sizes: NDArray[np.integer],
    digests: Sequence[str],
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """The group of each image, shape (n,): the row of its first image. Images with equal digests are in one group.

    `squares` holds those of the k `comparable` images, shape (k, SQUARE_PX, SQUARE_PX, 1). Each image of a group
    is nearly the same as one and the same image of it, so that likeness does not lead from image to image through the whole
    dataset.
    """
    rows = comparable(sizes, digests)
    groups = _Groups(squares)
    compared = np.zeros(0, np.int64)
    for step, pairs in enumerate(_candidates(_spectra(squares), np.asarray(sizes)[rows].astype(np.int64)), 1):
        numbers = pairs @ np.array([len(rows), 1])
        new = groups.apart(pairs) & ~np.isin(numbers, compared)
        compared = np.union1d(compared, numbers[new])
        groups.compare(pairs[new])
        progress("comparing images", step, _ORDERS * _AHEAD)
    same = numbered(digests)
    _, first = np.unique(same, return_index=True)
    found = np.arange(len(same))
    found[rows] = rows[groups.firsts()]
    return found[first][same]


@dataclass(frozen=True, slots=True, eq=False)
class _Spectra:
    """What shifts, mirrors and quarter turns leave as it is: the magnitudes of the Fourier transform do not know where in the
    square something lies."""

    low: NDArray[np.float16]
    """The low frequencies, shape (k, 63); half as precise, and half as large: a quarter of a gigabyte for two million images."""
    strength: NDArray[np.float32]
    """The sum of their squares, (k,)."""

    def __len__(self) -> int:
        return len(self.low)


def _spectra(squares: Rows | NDArray[np.uint8]) -> _Spectra:
    upper, strictly = np.triu_indices(_LOW), np.triu_indices(_LOW, 1)
    low = np.empty((len(squares), len(upper[0]) - 1 + len(strictly[0])), np.float16)
    strength = np.empty(len(squares), np.float32)
    for start in range(0, len(squares), _SQUARES):
        block = slice(start, min(start + _SQUARES, len(squares)))
        grey = _grey(squares, np.arange(block.start, block.stop))
        spectrum = np.abs(np.fft.rfft2(grey, norm="forward"))[:, :, :_LOW]
        both = spectrum[:, :_LOW] + spectrum[:, -np.arange(_LOW)]
        turned = both.transpose(0, 2, 1)
        sums = (both + turned)[:, upper[0], upper[1]]
        differences = np.abs(both - turned)[:, strictly[0], strictly[1]]
        found = np.concatenate([sums[:, 1:], differences], axis=1)
        low[block], strength[block] = found, (found**2).sum(axis=1)
    return _Spectra(low, strength)


def _candidates(spectra: _Spectra, sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Pairs of images with nearly the same spectrum and size, in parts of shape (k, 2), the lower number first.

    A bit of an image's hash says whether a frequency has a larger share than in the median image, as perceptual hashes from the
    cosine transform have it (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010). The hashes
    are sorted with their bits in one order after another, and neighbours compared (M. Charikar, Similarity Estimation
    Techniques from Rounding Algorithms, 2002, section 4).
    """
    if not len(spectra):
        return
    rng = np.random.default_rng(0)
    hashes = _hashes(spectra)
    sizes = np.sort(sizes, axis=1)
    for _ in range(_ORDERS):
        order = np.lexsort((spectra.strength, _mixed(hashes, rng.permutation(64))))
        for ahead in range(1, _AHEAD + 1):
            pairs = [np.zeros((0, 2), np.int64)]
            for start in range(0, len(order) - ahead, _PAIRS):
                one = order[start : min(start + _PAIRS, len(order) - ahead)]
                pairs.append(_near(spectra, sizes, one, order[start + ahead :][: len(one)]))
            yield np.concatenate(pairs)


def _hashes(spectra: _Spectra) -> NDArray[np.uint64]:
    """A bit a frequency, (k,)."""
    hashes = np.zeros(len(spectra), np.uint64)
    root = np.maximum(np.sqrt(spectra.strength), _FAINT)
    for frequency in range(spectra.low.shape[1]):
        share = spectra.low[:, frequency] / root
        hashes |= (share > np.median(share)).astype(np.uint64) << np.uint64(frequency)
    return hashes


def _mixed(hashes: NDArray[np.uint64], order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The same bits in another order."""
    mixed = np.zeros_like(hashes)
    for to, bit in enumerate(order.astype(np.uint64)):
        mixed |= (hashes >> bit & np.uint64(1)) << np.uint64(to)
    return mixed


def _near(
    spectra: _Spectra, sizes: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of these pairs whose spectra and sizes are nearly the same, shape (k, 2)."""
    strength = spectra.strength
    apart = _SPECTRA_DIFFER * (strength[one] + strength[other]) / 2
    near = (np.sqrt(strength[one]) - np.sqrt(strength[other])) ** 2 <= apart
    allowed = np.maximum(SIZES_DIFFER_PX, SIZES_DIFFER * sizes[one])
    near &= (np.abs(sizes[one] - sizes[other]) <= allowed).all(axis=1)
    one, other = one[near], other[near]
    between = spectra.low[one].astype(np.float32) - spectra.low[other]
    near = (between**2).sum(axis=1) <= apart[near]
    return np.sort(np.stack([one[near], other[near]], axis=1), axis=1)


class _Groups:
    """Groups of images, each around one of them: its leader."""

    def __init__(self, squares: Rows | NDArray[np.uint8]) -> None:
        self._squares = squares
        self._leader = np.arange(len(squares))
        self._members: dict[int, list[int]] = {}
        self._refused: set[tuple[int, int]] = set()

    def apart(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the two of each pair are in different groups."""
        different: NDArray[np.bool_] = self._leader[pairs[:, 0]] != self._leader[pairs[:, 1]]
        return different

    def compare(self, pairs: NDArray[np.int64]) -> None:
        """Joins those that are nearly the same, the most alike first."""
        alike = [np.zeros(0, np.float32)]
        alike += [self._similarity(part[:, 0], part[:, 1]) for part in _parts(pairs)]
        values = np.concatenate(alike)
        close = np.flatnonzero(values >= ALIKE)
        for one, other in pairs[close[np.argsort(-values[close], kind="stable")]].tolist():
            self._join(one, other)

    def firsts(self) -> NDArray[np.int64]:
        """The first image of each one's group."""
        lowest = np.full(len(self._leader), len(self._leader))
        np.minimum.at(lowest, self._leader, np.arange(len(self._leader)))
        return lowest[self._leader]

    def _join(self, one: int, other: int) -> None:
        """Puts the groups of two images together, where all of the smaller are nearly the same as the larger's leader."""
        leader, moving = sorted(
            (int(self._leader[one]), int(self._leader[other])), key=lambda group: -len(self._of(group))
        )
        if leader == moving or (leader, moving) in self._refused:
            return
        members = self._of(moving)
        unknown = [member for member in members if {member, leader} != {one, other}]
        for part in _parts(np.array(unknown, np.int64)):
            if (self._similarity(np.full(len(part), leader), part) < ALIKE).any():
                self._refused.add((leader, moving))
                return
        self._leader[members] = leader
        self._members[leader] = [*self._of(leader), *members]
        self._members.pop(moving, None)

    def _of(self, leader: int) -> list[int]:
        return self._members.get(leader, [leader])

    def _similarity(self, some: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.float32]:
        return similarity(_grey(self._squares, some), _grey(self._squares, others))


def similarity(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """How alike pairs of squares are, shape (k,), 1 for the same: over mirrors, quarter turns and shifts, with what is left of a
    pixel's shift taken out.

    Of the two centred squares a and b it is 2ab / (aa + bb), the concordance of L. Lin (Biometrics 45, 1989) without its
    means: as a correlation, but different contrast counts. What counts are the smoothed squares, since what JPEG adds is fine;
    but where the grain is another, it is another image, and the similarity 0.
    """
    a, b = _smooth(some), _smooth(others)
    spectrum = np.fft.rfft2(a - a.mean(axis=(1, 2), keepdims=True))
    best = np.full(len(a), -np.inf, np.float32)
    turned, shifts = np.empty_like(others), np.zeros((len(a), 2), np.int64)
    reach = np.arange(-_SHIFT_PX, _SHIFT_PX + 1)
    for square, grainy in zip(_symmetries(b), _symmetries(others), strict=True):
        # Correlations at all shifts: the squares' ground goes around, and images end in it.
        products = np.fft.irfft2(spectrum * np.fft.rfft2(square).conj(), s=a.shape[1:])
        near = products[:, reach[:, None], reach].reshape(len(a), -1)
        at = near.argmax(axis=1)
        value = near[np.arange(len(a)), at]
        better = value > best
        best[better], turned[better] = value[better], grainy[better]
        shifts[better] = np.stack(np.divmod(at[better], len(reach)), axis=1) - _SHIFT_PX
    grain = _refined(some, turned, shifts)
    return np.where(grain >= ALIKE_GRAIN, _refined(a, _smooth(turned), shifts), np.float32(0))


def _refined(
    a: NDArray[np.float32], b: NDArray[np.float32], shifts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Concordance of the squares where they overlap, `b` shifted: by whole pixels, and by what the slopes of its grey say."""
    inner = np.arange(_SHIFT_PX, SQUARE_PX - _SHIFT_PX)
    down, right = np.gradient(b, axis=1), np.gradient(b, axis=2)
    rows, columns = inner - shifts[:, :1], inner - shifts[:, 1:]
    at = (np.arange(len(b))[:, None, None], rows[:, :, None], columns[:, None, :])
    whole, down, right = (_centred(part[at]) for part in (b, down, right))
    wanted = _centred(a[:, inner[:, None], inner])
    slopes = np.stack([down, right], axis=1)
    left = np.einsum("kis,ks->ki", slopes, wanted - whole)
    steps = np.linalg.solve(slopes @ slopes.transpose(0, 2, 1) + np.eye(2), left[:, :, None])
    moved = whole + np.einsum("kis,ki->ks", slopes, np.clip(steps[:, :, 0], -0.6, 0.6))
    both = (wanted**2).sum(axis=1) + (moved**2).sum(axis=1) + 2 * _NOISE * wanted.shape[1]
    found: NDArray[np.float32] = (2 * (wanted * moved).sum(axis=1) / both).astype(np.float32)
    return found


def _smooth(squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over 3 x 3 pixels."""
    wide = np.pad(squares, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    found: NDArray[np.float32] = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9
    return found


def _symmetries(squares: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Mirrored and turned, in all eight ways."""
    for way in (squares, squares.transpose(0, 2, 1)):
        yield from (way, way[:, ::-1], way[:, :, ::-1], way[:, ::-1, ::-1])


def _centred(squares: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = squares.reshape(len(squares), -1)
    centred: NDArray[np.float32] = flat - flat.mean(axis=1, keepdims=True)
    return centred


def _grey(squares: Rows | NDArray[np.uint8], rows: NDArray[np.integer]) -> NDArray[np.float32]:
    """Shape (k, SQUARE_PX, SQUARE_PX)."""
    found: NDArray[np.float32] = squares[rows][..., 0].astype(np.float32)
    return found


def _parts(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), _PART):
        yield rows[start : start + _PART]
