"""Numbers, and what a review has found, what is probably left, and whether it helped, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dupekit.rounds.comparison import Compared
    from dupekit.rounds.stability import Stability
    from dupekit.rounds.yields import Estimate, Yield

UNSURE = 3
"""Where so many times more may be left than are at least, an audit is worth its images."""


def in_words(found: Yield) -> str:
    """As in "300 reviewed, 251 wrong (84 %). The next 300 will hold about 160 to 230. About 400 (250 to 620) wrong labels are
    left."; then whether to stop."""
    said = []
    if found.reviewed or not found.audited:
        said.append(
            f"{found.reviewed:,} reviewed, {found.wrong:,} wrong{_share(found.wrong, found.reviewed)}."
        )
    if found.audited:
        said.append(
            f"Of {counted(found.audited, 'image')} of the audit {found.audited_wrong:,}"
            f" {'is' if found.audited_wrong == 1 else 'are'} wrong."
        )
    if found.missing:
        return " ".join([*said, f"How many are left cannot be said yet: {found.missing}."])
    if found.next_batch:
        said.append(f"The next {found.next_batch.images:,} will hold {_between(found.next_batch)}.")
    if found.left:
        one = found.left
        about = "About" if _about(one.expected) else "Probably"
        said.append(
            f"{about} {_about(one.expected):,} ({_about(one.low):,} to {_about(one.high):,}) wrong labels are left."
        )
    if found.stop:
        said.append(_stop(found))
    elif not found.audited and found.left and found.left.high > UNSURE * max(found.left.low, 1):
        said.append("`dupekit export --audit 100` would make that surer.")
    return " ".join(said)


def _stop(found: Yield) -> str:
    from dupekit.rounds.yields import ENOUGH

    share = found.found_share or 0
    if found.found and share >= ENOUGH:
        return f"That is probably {percent(share)} of them found: this is a good place to stop."
    return "Hardly any is to be found by going on: this is a good place to stop."


def stability_in_words(found: Stability) -> str:
    """As in "the last pair changed 4 of the 240 images with a score above 2 (2 %)"."""
    from dupekit.rounds.stability import STRONG

    if not found.images:
        return f"no image has a score above {STRONG:g}, with the last pair or without"
    said = f"the last pair changed {found.changed:,} of the {found.images:,} images with a score above {STRONG:g}"
    return said + _share(found.changed, found.images)


def accuracy_in_words(accuracy: Compared) -> str:
    """As in "Accuracy rose from 91.9 to 93.2 %, by 1.3 points (0.4 to 2.1)."."""
    before, after = (f"{100 * value:.1f}" for value in (accuracy.before, accuracy.after))
    if not accuracy.sure:
        return (
            f"Accuracy went from {before} to {after} %: too little for these test images to tell from chance"
            f" (p {probability(accuracy.p_images)})."
        )
    how, least, most = "rose", accuracy.low, accuracy.high
    if accuracy.difference < 0:
        how, least, most = "fell", -accuracy.high, -accuracy.low
    return (
        f"Accuracy {how} from {before} to {after} %, by {100 * abs(accuracy.difference):.1f} points"
        f" ({100 * least:.1f} to {100 * most:.1f})."
    )


def counted(number: int, noun: str) -> str:
    """As in "1 image" and "5,261 images"."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def points(difference: float) -> str:
    """A difference of shares as in "+1.3", of hundredths."""
    return f"{100 * difference + 0.0:+.1f}"


def probability(p: float | None) -> str:
    """As in ".03", "<.001"."""
    if p is None:
        return "-"
    if p < 0.001:
        return "<.001"
    digits = 3 if p < 0.0995 else 2
    return f"{p:.{digits}f}".removeprefix("0")


def percent(share: float, digits: int = 0) -> str:
    """As in "84 %"; what is neither none nor all is not rounded to these."""
    number = f"{share:.{digits}%}"[:-1]
    least = f"{10**-digits:.{digits}f}"
    if share > 0 and float(number) == 0:
        return f"<{least} %"
    if share < 1 and float(number) == 100:
        return f">{100 - float(least):.{digits}f} %"
    return f"{number} %"


def _share(part: int, of: int) -> str:
    return f" ({percent(part / of)})" if of else ""


def _between(one: Estimate) -> str:
    low, high = _about(one.low), _about(one.high)
    return f"about {low:,}" if low == high else f"about {low:,} to {high:,}"


def _about(number: int) -> int:
    """No more figures than are known: two."""
    step = int(10 ** max(len(str(number)) - 2, 0))
    return (number + step // 2) // step * step
