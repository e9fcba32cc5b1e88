"""The results of benchmarks/quality.py as tables of up to 110 columns: a row for a dataset and a kind of errors, means over the seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean, stdev

from quality_cells import Cell
from quality_orders import CLEANLAB, EQUAL_PAIRS, FIRST, RARE, RECALLS, RULES, SCORES, Order, Worth

LABEL, COLUMN = 29, 9


class Part(StrEnum):
    """Of the seeds and of the images."""

    CHOOSE = "choose"
    """Half of the seeds, rounded down, and about half of the images: by these a choice may be made."""
    REPORT = "report"
    """The others: by these it is judged."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Result:
    """What an order was worth in a cell."""

    variant: str
    cell: Cell
    part: Part
    order: Order
    worth: Worth


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a cell."""

    variant: str
    cell: Cell
    seconds: float
    cpu_seconds: float
    recipe_cpu_seconds: tuple[float, ...]
    """Each repetition; none where the models read pixels."""


Value = Callable[[Worth], float | None]


class Results:
    """All that was measured in one part."""

    def __init__(self, results: Sequence[Result], part: Part) -> None:
        self._found: dict[tuple[str, str, Order], dict[int, Worth]] = {}
        for result in results:
            if result.part is part:
                key = (result.variant, result.cell.row, result.order)
                self._found.setdefault(key, {})[result.cell.seed] = result.worth
        self.part = part
        self.rows = list(dict.fromkeys(result.cell.row for result in results if result.part is part))

    def by_seed(self, variant: str, row: str, order: Order, value: Value) -> dict[int, float]:
        """Of those seeds that have one."""
        found = {seed: value(worth) for seed, worth in self._found.get((variant, row, order), {}).items()}
        return {seed: number for seed, number in found.items() if number is not None}

    def mean(
        self, variant: str, row: str, order: Order, value: Value, *, of_all: bool = True
    ) -> float | None:
        """Over the seeds; with `of_all` None where one has none."""
        numbers = self.by_seed(variant, row, order, value)
        missing = len(self._found.get((variant, row, order), {})) - len(numbers)
        return mean(numbers.values()) if numbers and not (of_all and missing) else None

    def counts(self, variant: str, row: str) -> tuple[int, float, float] | None:
        """Seeds, images and errors."""
        worths = self._found.get((variant, row, Order.SCORE), {}).values()
        if not worths:
            return None
        return len(worths), mean(one.images for one in worths), mean(one.errors for one in worths)


def average_precision(worth: Worth) -> float | None:
    return worth.average_precision


def of_variant(results: Results, variant: str) -> Iterator[str]:
    """All scores of the same predictions, by each measure."""
    yield f"\n=== {variant}: scores of the same predictions, part {results.part}"
    yield from _scores("Average precision", results, variant, average_precision, ".3f", lead=True)
    for at, share in enumerate(RECALLS):
        title = f"Images to open for {share:.0%} of the errors"
        yield from _scores(title, results, variant, _opened(at), ".0f")
    for at, share in enumerate(FIRST):
        title = f"Share of errors among the first {share:.0%} of the images"
        yield from _scores(title, results, variant, _precision(at), ".2f")


def _opened(at: int) -> Value:
    return lambda worth: worth.opened[at]


def _precision(at: int) -> Value:
    return lambda worth: worth.precision[at]


def _scores(
    title: str, results: Results, variant: str, value: Value, form: str, *, lead: bool = False
) -> Iterator[str]:
    yield f"\n{title}"
    yield _head("errors", *SCORES, *(["lead"] if lead else []))
    leads = []
    for row in results.rows:
        counts = results.counts(variant, row)
        if counts is None:
            continue
        found = {order: results.mean(variant, row, order, value) for order in SCORES}
        shown = [_form(counts[2], ".0f"), *(_form(number, form) for number in found.values())]
        if lead:
            others = [found[order] for order in CLEANLAB]
            leads.append((found[Order.SCORE] or 0) - max(number for number in others if number is not None))
            shown.append(_form(leads[-1], "+.3f"))
        yield _line(row, shown)
    if leads:
        yield f"lead, of the score over the best of cleanlab's: {_summary(leads)}"


def rules(parts: Sequence[Results], variant: str) -> Iterator[str]:
    """What could order the list, everywhere, and with rare classes apart."""
    yield f"\n=== {variant}: rules for the list, beside score alone"
    yield f"Average precision of all images, and of those labelled as of a class under {RARE} images (rare)."
    yield "d: the difference to score alone; above 0, the other rule is better."
    for results in parts:
        yield f"\nPart {results.part}"
        differences = [f"d {order}" for order in RULES[1:]]
        yield _head("score", *differences, "rare", *differences)
        found: dict[str, list[float]] = {}
        for row in results.rows:
            shown: list[str] = []
            for of, value in (("all images", average_precision), ("rare", _rare)):
                score = results.mean(variant, row, Order.SCORE, value, of_all=False)
                shown.append(_form(score, ".3f"))
                for order in RULES[1:]:
                    difference = _less(results.mean(variant, row, order, value, of_all=False), score)
                    shown.append(_form(difference, "+.3f"))
                    if difference is not None:
                        found.setdefault(f"{order}, {of}", []).append(difference)
            if results.counts(variant, row):
                yield _line(row, shown)
        for name, values in found.items():
            yield f"{name}: {_summary(values)}"


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _summary(differences: Sequence[float]) -> str:
    above = sum(number > 0 for number in differences)
    return (
        f"above 0 in {above} of {len(differences)} rows, mean {mean(differences):+.3f},"
        f" {min(differences):+.3f} to {max(differences):+.3f}"
    )


def _rare(worth: Worth) -> float | None:
    return worth.rare_average_precision


def _found_rare(worth: Worth) -> float | None:
    return worth.found_rare


def by_class_size(results: Results, variant: str) -> Iterator[str]:
    yield f"\n=== {variant}: by the size of the class, order of the score, part {results.part}"
    yield (
        f"rare: share of the errors truly of a class under {RARE} images, others: of the others, that are among the first"
    )
    yield "images, as many as there are errors. rare AP: average precision of the images labelled as of such a class."
    yield "Over the seeds that have such errors."
    yield _head("rare", "others", "rare AP", "AP")
    for row in results.rows:
        rare = results.mean(variant, row, Order.SCORE, _found_rare, of_all=False)
        if rare is None:
            continue
        others = results.mean(variant, row, Order.SCORE, lambda worth: worth.found_others)
        rare_ap = results.mean(variant, row, Order.SCORE, _rare, of_all=False)
        every = results.mean(variant, row, Order.SCORE, average_precision)
        yield _line(
            row, [_form(rare, ".2f"), _form(others, ".2f"), _form(rare_ap, ".3f"), _form(every, ".3f")]
        )


def recipe(results: Results, variant: str, costs: Sequence[Cost]) -> Iterator[str]:
    """cleanlab's usual recipe against dupekit, with what both cost."""
    yield f"\n=== {variant} and cleanlab's usual recipe on the same features, average precision, part {results.part}"
    yield f"once: five folds, as many images trained on as in {EQUAL_PAIRS} pairs; all: all pairs. CPU seconds, without features: of"
    yield "the recipe alone; of the whole `dupekit train`, with what starting, files and ledger cost; medians."
    yield _head(f"{EQUAL_PAIRS} pairs", "once", "all", "repeated", "CPU: all", "once", "repeated")
    for row in results.rows:
        of = [cost for cost in costs if (cost.variant, cost.cell.row) == (variant, row)]
        timed = [cost for cost in of if cost.recipe_cpu_seconds]
        if not timed:
            continue
        orders = (Order.FEW_PAIRS, Order.RECIPE, Order.SCORE, Order.REPEATED)
        shown = [_form(results.mean(variant, row, order, average_precision), ".3f") for order in orders]
        seconds = (
            sorted(cost.cpu_seconds for cost in timed)[len(timed) // 2],
            mean(cost.recipe_cpu_seconds[0] for cost in timed),
            mean(sum(cost.recipe_cpu_seconds) for cost in timed),
        )
        yield _line(row, [*shown, *(_form(number, ".0f") for number in seconds)])


def variants(results: Results, names: Sequence[str], costs: Sequence[Cost]) -> Iterator[str]:
    """The variants on the same splits: what the order of the score is worth, and what each costs."""
    yield f"\n=== The variants, average precision of the score, part {results.part}"
    yield f"d: the difference to {names[0]}, over the seeds of both; ±: standard deviation between the seeds;"
    yield "s: CPU seconds of `train`, median of the seeds."
    heads = [names[0], "±", "s"]
    for name in names[1:]:
        heads += [name, "d", "±", "s"]
    yield _head(*heads)
    differences: dict[str, list[float]] = {}
    for row in results.rows:
        shown: list[str] = []
        base = results.by_seed(names[0], row, Order.SCORE, average_precision)
        for name in names:
            found = results.by_seed(name, row, Order.SCORE, average_precision)
            seconds = sorted(
                cost.cpu_seconds for cost in costs if (cost.variant, cost.cell.row) == (name, row)
            )
            shown.append(_form(mean(found.values()) if found else None, ".3f"))
            if name != names[0]:
                both = [found[seed] - base[seed] for seed in found if seed in base]
                difference = mean(both) if both else None
                shown.append(_form(difference, "+.3f"))
                if difference is not None:
                    differences.setdefault(name, []).append(difference)
            shown.append(_form(stdev(found.values()) if len(found) > 1 else None, ".3f"))
            shown.append(_form(seconds[len(seconds) // 2] if seconds else None, ".0f"))
        yield _line(row, shown)
    for name, values in differences.items():
        yield f"{name}: {_summary(values)}"


def _head(*columns: str) -> str:
    return " " * LABEL + "".join(f"{column:>{COLUMN}}" for column in columns)


def _line(label: str, shown: Sequence[str]) -> str:
    return f"{label:{LABEL}}" + "".join(f"{text:>{COLUMN}}" for text in shown)


def _form(number: float | None, form: str) -> str:
    return "-" if number is None else f"{number:{form}}"
