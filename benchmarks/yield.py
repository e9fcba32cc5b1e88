"""What the verdicts so far say of the next batch and of what is left: is it true, and when does the review stop?

    python benchmarks/yield.py WORKDIR --plankton DIR --cifar DIR --annotator CSV [--seeds 1 2 3]

Label errors of three kinds are planted in scikit-learn's digits, in plankton-small and in 10,000 images of CIFAR-10;
`dupekit train` ranks them (probe, ten pairs), a reviewer who knows the truth opens the list batch by batch, and after
each batch `dupekit.rounds.yields` is asked. The rounds' tallies are kept in WORKDIR/tallies: a second call trains
nothing and takes seconds. The datasets are only read; what is not named is left out.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reporting import machine
from sources import Source, cifar, digits, folders, planted, row_of, write_copy

from dupekit import Choices
from dupekit.project import Project
from dupekit.rounds.yields import Decided, Drawn, Estimate, Yield, draw_audit, estimate

SHARE = 0.05
"""Of the labels, made wrong; the annotator of CIFAR-10N is wrong as often as he is."""
CIFAR_IMAGES = 10_000
IMAGE_SIZE_PX = 96
PAIRS = 10
BATCH = {"digits": 50, "plankton-small": 100, "cifar10": 300}
FEW = 5
"""A ratio to fewer says little."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A round's tallies of every image, and the truth; arrays of shape (n,)."""

    source: str
    kind: str
    seed: int
    scores: NDArray[np.float64]
    votes: NDArray[np.int64]
    wrong: NDArray[np.bool_]


# --- training


def trained(source: Source, kind: str, seed: int, place: Path) -> Ranked:
    """A real round on a copy (hard links where possible) with planted labels; features are shared through `place`/cache."""
    given = planted(source, kind, share=SHARE, seed=seed)
    work = place / "work"
    shutil.rmtree(work, ignore_errors=True)
    write_copy(source, given, work / "dataset")
    project = Project.create(work / "dataset", work / "project")
    project.scan()
    cache, own = place / f"cache-{source.name}", work / "project" / "cache"
    if cache.exists():  # keyed by content: the labels have no part in it
        shutil.rmtree(own, ignore_errors=True)
        cache.rename(own)
    choices = Choices(trainer="probe", pairs=PAIRS, seed=seed, options={"image_size": IMAGE_SIZE_PX})
    done = project.train(choices)
    if done.failed:
        sys.exit(f"{done.failed[0].name}: {done.failed[0].error}")
    counted = project.scores()
    own.rename(cache)
    shutil.rmtree(work)
    rows = [row_of(path) for path in counted.paths]
    wrong = (source.truth != given)[rows]
    return Ranked(source.name, kind, seed, counted.scores, counted.votes.astype(np.int64), wrong)


def rounds(a: argparse.Namespace) -> Iterator[Ranked]:
    """Every round, from its kept tallies where they are there."""
    for seed in a.seeds:
        for name, kinds in (
            ("digits", ("uniform", "look-alike", "few pairs")),
            ("plankton-small", ("uniform", "look-alike", "few pairs")),
            ("cifar10", ("uniform", "look-alike", "annotator")),
        ):
            source: Source | None = None
            for kind in kinds:
                kept = a.workdir / "tallies" / f"{name}-{kind.replace(' ', '-')}-{seed}.npz"
                if not kept.exists():
                    source = source or _source(name, a, seed)
                    if source is None:
                        break
                    made = trained(source, kind, seed, a.workdir)
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    np.savez(kept, scores=made.scores, votes=made.votes, wrong=made.wrong)
                    print(f"trained {kept.stem}", file=sys.stderr, flush=True)
                with np.load(kept) as arrays:
                    yield Ranked(name, kind, seed, arrays["scores"], arrays["votes"], arrays["wrong"])


def _source(name: str, a: argparse.Namespace, seed: int) -> Source | None:
    if name == "digits":
        return digits(a.workdir / "digits")
    if name == "plankton-small":
        return folders(name, a.plankton) if a.plankton else None
    return cifar(a.cifar, a.annotator, seed=seed, images=CIFAR_IMAGES) if a.cifar and a.annotator else None


# --- the reviewer


@dataclass(frozen=True, slots=True)
class Asked:
    """What was estimated after a batch, and the truth."""

    ranked: Ranked
    opened: int
    estimated: Yield
    by_weights: Estimate | None
    """What is left by Horvitz and Thompson's weights outside the list; None without an audit."""
    next_wrong: int
    left_wrong: int


def review(ranked: Ranked, *, audit: int) -> Iterator[Asked]:
    """Opens the suspects (score above 0) batch by batch, the audit first; asks before each further batch."""
    order = np.argsort(-ranked.scores, kind="stable")
    scores, wrong = ranked.scores[order], ranked.wrong[order]
    suspects = int((scores > 0).sum())
    drawn = draw_audit(scores[suspects:], audit, seed=ranked.seed)
    audited = suspects + drawn.rows
    unsuspected = np.delete(np.arange(suspects, len(scores)), drawn.rows)
    batch = BATCH[ranked.source]
    for done in range(batch, suspects, batch):
        reviewed = Decided(scores[:done], wrong[:done])
        estimated, listed = (
            estimate(
                reviewed,
                audit=Decided(scores[audited], wrong[audited]),
                undecided=scores[done:suspects],
                unsuspected=others,
                batch=batch,
            )
            for others in (scores[unsuspected], np.zeros(0))
        )
        yield Asked(
            ranked,
            opened=done + audit,
            estimated=estimated,
            by_weights=_by_weights(listed, drawn, wrong[audited]) if audit else None,
            next_wrong=int(wrong[done : min(done + batch, suspects)].sum()),
            left_wrong=int(wrong[done:suspects].sum() + wrong[unsuspected].sum()),
        )


def _by_weights(listed: Yield, drawn: Drawn, wrong: NDArray[np.bool_]) -> Estimate | None:
    """The curve in the list, outside it the audit alone: each image stands for population / drawn of its stratum. The
    interval: in each stratum a beta distribution, their prior together half an image wrong; with the list's in quadrature."""
    if listed.left is None:
        return None
    rng = np.random.default_rng(0)
    expected, draws = 0.0, np.zeros(2000)
    for number in np.unique(drawn.stratum):
        of = drawn.stratum == number
        n, k, population = int(of.sum()), int(wrong[of].sum()), int(drawn.population[of][0])
        expected += (population - n) * k / n
        draws += rng.binomial(population - n, rng.beta(k + 0.1, n - k + 0.5, len(draws)))
    low, high = np.quantile(draws, [0.1, 0.9])
    left, middle = listed.left, listed.left.expected + expected
    below = np.hypot(left.expected - left.low, max(0.0, expected - low))
    above = np.hypot(left.high - left.expected, max(0.0, high - expected))
    return Estimate(left.images, int(middle - below), round(middle), int(np.ceil(middle + above)))


# --- what it was worth


def coverage(
    title: str, groups: dict[str, list[Asked]], what: Callable[[Asked], tuple[Estimate | None, int]]
) -> None:
    """Prints how often the truth lay within, and estimate over truth where the truth is at least `FEW`."""
    print(f"\n{title}")
    print(
        f"{'':27}{'n':>5}{'inside':>8}{'above':>7}{'below':>7}{'ratio: 10 %':>13}{'median':>8}{'90 %':>7}{'width':>7}"
    )
    for name, asked in groups.items():
        found = [(guess, truth) for guess, truth in map(what, asked) if guess is not None]
        if not found:
            continue
        above = np.mean([truth > guess.high for guess, truth in found])
        below = np.mean([truth < guess.low for guess, truth in found])
        counted = [(guess, truth) for guess, truth in found if truth >= FEW]
        ratios = np.quantile(
            [guess.expected / truth for guess, truth in counted] or [np.nan], [0.1, 0.5, 0.9]
        )
        width = np.median([(guess.high - guess.low) / truth for guess, truth in counted] or [np.nan])
        print(
            f"{name:27}{len(found):5}{1 - above - below:8.2f}{above:7.2f}{below:7.2f}"
            f"{ratios[0]:13.2f}{ratios[1]:8.2f}{ratios[2]:7.2f}{width:7.2f}"
        )


def _in_all(one: Asked) -> tuple[Estimate | None, int]:
    left, found = one.estimated.left, one.estimated.found
    if left is None:
        return None, 0
    in_all = Estimate(left.images, left.low + found, left.expected + found, left.high + found)
    return in_all, one.left_wrong + found


def stops(reviews: dict[str, list[tuple[Ranked, list[Asked]]]]) -> None:
    """Prints when a stop was advised, beside the shortest list with 80 % of the errors and that of 8 of 10 votes."""
    print(f"{'':27}{'needed':>7}{'opened':>14}{'found':>14}{'8 of 10: images':>17}{'found':>14}{'none':>5}")
    for name, group in reviews.items():
        rows = []
        for ranked, asked in group:
            total = int(ranked.wrong.sum())
            cumulated = np.cumsum(ranked.wrong[np.argsort(-ranked.scores, kind="stable")])
            stop = next((one for one in asked if one.estimated.stop), None)
            flagged = ranked.votes >= 8
            rows.append(
                (
                    int(np.argmax(cumulated >= 0.8 * total)) + 1,
                    stop.opened if stop else int((ranked.scores > 0).sum()),
                    (stop.estimated.found if stop else int(ranked.wrong[ranked.scores > 0].sum())) / total,
                    int(flagged.sum()),
                    ranked.wrong[flagged].sum() / total,
                    stop is None,
                )
            )
        needed, opened, found, images, held, none = zip(*rows, strict=True)
        print(
            f"{name:27}{np.median(needed):7.0f}{_range(opened, '.0f'):>14}{_range(found, '.2f'):>14}"
            f"{_range(images, '.0f'):>17}{_range(held, '.2f'):>14}{sum(none):5}"
        )


def _range(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}}..{max(values):{form}}"


def report(every: list[Ranked], *, audit: int) -> None:
    reviews = [(ranked, list(review(ranked, audit=audit))) for ranked in every]
    groups: dict[str, list[tuple[Ranked, list[Asked]]]] = {}
    for ranked, asked in reviews:
        groups.setdefault(f"{ranked.source} {ranked.kind}", []).append((ranked, asked))
    named = {name: [one for _, asked in group for one in asked] for name, group in groups.items()}
    for seed in sorted({ranked.seed for ranked in every}):
        named[f"all of seed {seed}"] = [
            one for ranked, asked in reviews for one in asked if ranked.seed == seed
        ]
    named["all"] = [one for _, asked in reviews for one in asked]
    print(f"\n=== {f'an audit of {audit} images' if audit else 'without an audit'}")
    coverage("The next batch", named, lambda one: (one.estimated.next_batch, one.next_wrong))
    coverage("What is left", named, lambda one: (one.estimated.left, one.left_wrong))
    coverage("All wrong labels: found and left", named, _in_all)
    if audit:
        coverage(
            "What is left, by Horvitz and Thompson's weights outside the list",
            named,
            lambda one: (one.by_weights, one.left_wrong),
        )
    print("\nThe stop that is advised (range over the seeds; opened: the audit among them)")
    stops(groups)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--plankton", type=Path, help="plankton-small, unpacked")
    parser.add_argument("--cifar", type=Path, help="cifar10-train, unpacked")
    parser.add_argument("--annotator", type=Path, help="cifar10-one-annotator.csv.xz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    a = parser.parse_args()
    a.workdir = a.workdir.absolute()
    started = time.perf_counter()
    every = list(rounds(a))
    print(f"{'':27}{'images':>7}{'wrong':>7}{'suspects':>10}{'batch':>7}   (medians over seeds {a.seeds})")
    for name in dict.fromkeys((one.source, one.kind) for one in every):
        of = [one for one in every if (one.source, one.kind) == name]
        figures = (
            np.median([len(one.scores) for one in of]),
            np.median([one.wrong.sum() for one in of]),
            np.median([(one.scores > 0).sum() for one in of]),
        )
        print(f"{' '.join(name):27}{figures[0]:7.0f}{figures[1]:7.0f}{figures[2]:10.0f}{BATCH[name[0]]:7}")
    for audit in (0, 100):
        report(every, audit=audit)
    print(f"\n{machine()}\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
