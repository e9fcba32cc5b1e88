"""Export: the next batch of suspects, or what was decided and is to be seen again, goes out as a review tree."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dupekit.errors import NothingToDo, UsageError
from dupekit.files.names import escape
from dupekit.files.paths import new_place
from dupekit.ledger import Ledger, again, exports, images, tallies, verdicts
from dupekit.ledger.exports import FileRecord, Purpose
from dupekit.ledger.rounds import Round
from dupekit.review.enlarge import factor_for
from dupekit.review.manifest import Manifest, export_key, refuse_inside_tree
from dupekit.review.style import Stratum, Style
from dupekit.review.verdicts import Verdict
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Rule, RuleName, Suspect
from dupekit.rounds.yields import draw_audit
from dupekit.system.progress import Progress
from dupekit.system.stamp import now
from dupekit.workflow.exports import clear_cut_off, keep
from dupekit.workflow.flag import counted, rule_in_force
from dupekit.workflow.reference_folder import write_references
from dupekit.workflow.selection import Again, Selection, checked
from dupekit.workflow.session import Session
from dupekit.workflow.sheets import tree_sheets


@dataclass(frozen=True, slots=True)
class Exported:
    round: int
    tree: Path
    purpose: Purpose
    manifest: Manifest
    waiting: int
    """Suspects that the next batches are taken from."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What goes out, in the order in which it is shown."""

    purpose: Purpose
    images: list[Suspect]
    drawn: Mapping[int, Stratum] = field(default_factory=dict)
    """Of the ledger's numbers of those of the audit."""
    waiting: int = 0


_NAMES = {Purpose.REVIEW: "dupes", Purpose.SECOND: "second", Purpose.DECISION: "decision"}
"""Default places of trees, in the round's folder."""


def export(
    session: Session, tree: Path | None, selection: Selection, style: Style, *, progress: Progress
) -> Exported:
    """Writes a review tree, default place rounds/NN/dupes, then dupes-2, dupes-3 ...; by default of the next batch: the most
    suspicious that are neither decided nor out in another tree.

    Raises NothingToDo where nothing is left to review, UsageError where the tree exists or the options contradict each other.
    """
    words = checked(selection, style)
    ledger = session.ledger
    current = counted(session)
    if tree:
        tree = new_place(tree)
        _refuse_inside(session.dataset, tree)
        refuse_inside_tree(tree)
        _refuse_again(ledger, tree)
    clear_cut_off(session, current.number)
    rule = rule_in_force(current, session.settings)
    # So a repeated export draws the same images, and a further one others.
    seed = [session.settings.seed, current.number, len(exports.of_round(ledger, current.number))]
    rng = np.random.default_rng(seed)
    chosen = (
        _to_see_again(ledger, current, words, selection.sample, rng)
        if words
        else _batch(session, current, rule, selection, rng)
    )
    tree = tree or _free_place(session, current, chosen.purpose)
    sizes = images.dimensions(ledger, [one.image for one in chosen.images])
    style = replace(style, enlarge=factor_for(style.enlarge, sizes))
    manifest = plan_tree(
        chosen.images,
        images.class_names(ledger),
        round_number=current.number,
        pairs=current.tallied_pairs,
        created=now(),
        style=style,
        drawn=chosen.drawn,
    )
    manifest = _written(session, tree, manifest, chosen, style, progress)
    return Exported(current.number, tree, chosen.purpose, manifest, chosen.waiting)


def _batch(
    session: Session, current: Round, rule: Rule, selection: Selection, rng: np.random.Generator
) -> _Chosen:
    """The next suspects, with the images of the audit at random places among them."""
    ledger = session.ledger
    found = tallies.waiting(ledger, current.number, rule)
    number = len(found)
    if selection.limit is not None:
        number = selection.limit
    elif rule.name is RuleName.SCORE and not selection.everything:
        number = session.settings.batch
    chosen, left = found[:number], len(found[number:])
    drawn: dict[int, Stratum] = {}
    if selection.audit:
        others = tallies.unsuspected(ledger, current.number, rule)
        audit = draw_audit(others.scores, selection.audit, seed=int(rng.integers(2**32)))
        numbers = others.images[audit.rows].tolist()
        for image, *stratum in zip(numbers, audit.stratum.tolist(), audit.population.tolist(), strict=True):
            drawn[image] = Stratum(*stratum)
        places = np.sort(rng.choice(len(chosen) + len(numbers), len(numbers), replace=False)).tolist()
        for place, one in zip(places, tallies.of_images(ledger, current.number, numbers), strict=True):
            chosen.insert(place, one)
    if not chosen:
        raise _nothing_left(session, current, rule)
    return _Chosen(Purpose.REVIEW, chosen, drawn, left)


def _to_see_again(
    ledger: Ledger, current: Round, words: frozenset[Again], sample: int | None, rng: np.random.Generator
) -> _Chosen:
    if Again.DISPUTED in words:
        purpose, found = Purpose.DECISION, again.disputed(ledger, current.number)
    else:
        wanted = set(Again) - {Again.ALL, Again.DISPUTED} if Again.ALL in words else words
        purpose = Purpose.SECOND
        found = again.to_decide(ledger, current.number, [Verdict(word) for word in wanted])
    chosen = tallies.of_images(ledger, current.number, found)
    if not chosen:
        raise NothingToDo(
            f"No image of round {current.number} is {' or '.join(sorted(words)).replace('all', 'decided')} and not"
            " shown again already.",
            hint="`dupekit status` counts the verdicts. What is in a tree that was exported so does not go out twice:"
            " `dupekit withdraw` calls a tree back.",
        )
    order = rng.permutation(len(chosen))[:sample].tolist()
    return _Chosen(purpose, [chosen[at] for at in order])


def _nothing_left(session: Session, current: Round, rule: Rule) -> NothingToDo:
    """Says where the suspects are."""
    ledger, number = session.ledger, current.number
    out = [one for one in exports.out(ledger, number) if one.open and one.export.purpose is Purpose.REVIEW]
    decided = sum(verdicts.counts(ledger, number).values())
    ignored = tallies.counts(ledger, number, rule).ignored
    where = [
        *(f"{one.open} without a verdict in {one.place}" for one in out),
        *([f"{decided} decided"] if decided else []),
        *([f"{ignored} on the ignore list"] if ignored else []),
    ]
    if out:
        hint = (
            "Have them reviewed and run `dupekit collect`, or call a tree back with `dupekit withdraw TREE`."
        )
    elif decided:
        hint = "`dupekit apply DEST` writes the corrected dataset; `dupekit export --limit 0 --audit N` shows what no rule found."
    elif rule.name is RuleName.VOTES:
        hint = "Lower the threshold with `dupekit flag --threshold N`, take `dupekit flag --rule score`, or be glad."
    else:
        hint = "The models prefer the given label of every image: be glad."
    if not where:
        return NothingToDo("No image is a suspect, so there is nothing to review.", hint=hint)
    return NothingToDo(f"No suspect is left to review: {'; '.join(where)}.", hint=hint)


def _free_place(session: Session, current: Round, purpose: Purpose) -> Path:
    """The first default place that no tree of the round has, or had before it was moved away."""
    used = {export.tree for export in exports.of_round(session.ledger, current.number)}
    name, number = _NAMES[purpose], 1
    while True:
        place = session.folder(current.number).path / (name if number == 1 else f"{name}-{number}")
        if escape(str(place)) not in used and not place.exists() and not place.is_symlink():
            return place
        number += 1


def _written(
    session: Session, tree: Path, manifest: Manifest, chosen: _Chosen, style: Style, progress: Progress
) -> Manifest:
    numbers = {one.path: one.image for one in chosen.images}
    kept = session.folder(manifest.round).export(manifest.export)

    @contextlib.contextmanager
    def recorded(written: Manifest) -> Iterator[None]:
        """An export is recorded while its tree appears, and not any more where that fails."""
        keep(kept, written)
        try:
            exports.record(
                session.ledger,
                round_number=written.round,
                key=written.export,
                tree=escape(str(tree)),
                files={
                    file.path: FileRecord(numbers[file.original], file.stratum, file.population)
                    for file in written.files
                },
                purpose=chosen.purpose,
            )
            yield
        except BaseException:
            if export_key(tree) != written.export:
                exports.forget(session.ledger, written.export)
            raise

    try:
        return write_tree(
            manifest,
            session.dataset,
            tree,
            style=style,
            max_pixels=session.settings.max_pixels,
            sheets=tree_sheets(session, manifest),
            references=lambda written, folder: write_references(folder, session, written, progress=progress),
            ready=recorded,
            progress=progress,
        )
    except BaseException:
        if exports.by_key(session.ledger, manifest.export) is None:
            shutil.rmtree(kept, ignore_errors=True)
        raise


def _refuse_again(ledger: Ledger, tree: Path) -> None:
    found = exports.by_key(ledger, export_key(tree) or "")
    if found:
        raise UsageError(
            f"{tree} exists already: it is the review tree that was exported on {found.created}.",
            hint="Have it reviewed and run `dupekit collect`, or name another folder for another export.",
        )


def _refuse_inside(dataset: Path, path: Path) -> None:
    if path.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(
            f"{path} lies inside the dataset, which dupekit never writes to.",
            hint="Name a folder elsewhere.",
        )
