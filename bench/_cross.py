"""Cross-validation over sequences: settings are chosen on all others and judged on the one that was left out.

What is chosen on the very data that it is judged on looks better than it is. Here each sequence is judged as it is by
the variant of a small fixed grid around the defaults that is best on all other sequences and their altered copies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench._alter import ALTERATIONS
from bench._run import AS_IT_IS, Take, Variant, count_take
from bench._truth import wrong
from countline.errors import UsageError
from edge.track.tracker import TrackerSettings

DEFAULTS = "the defaults"
_BASE = TrackerSettings()


def _tracker(**changes: float) -> Variant:
    return Variant(replace(_BASE, **changes))


def _link(**changes: float) -> Variant:
    return Variant(replace(_BASE, link=replace(_BASE.link, **changes)))


def _smoother(**changes: float) -> Variant:
    return Variant(replace(_BASE, smoother=replace(_BASE.smoother, **changes)))


GRID: dict[str, Variant] = {
    DEFAULTS: AS_IT_IS,
    "link limit 6": _link(limit=6.0),
    "link limit 10": _link(limit=10.0),
    "link gap 1 s": _link(gap_s=1.0),
    "link gap 3 s": _link(gap_s=3.0),
    "overlap 0.25": _tracker(match_iou=0.25),
    "overlap 0.4": _tracker(match_iou=0.4),
    "confirmed after 0.2 s": _tracker(confirm_s=0.2),
    "confirmed after 0.5 s": _tracker(confirm_s=0.5),
    "no perspective": _tracker(strange=0.0),
    "lag 0.2 s": _smoother(lag_s=0.2),
    "lag 0.6 s": _smoother(lag_s=0.6),
    "errors last 0.2 s": _smoother(correlation_s=0.2),
    "errors last 0.8 s": _smoother(correlation_s=0.8),
    "dead band 0.03": Variant(dead_band=0.03),
    "dead band 0.1": Variant(dead_band=0.1),
}
"""One setting changed at a time, the defaults first: of equals the first is chosen."""

Errors = tuple[int, int]
"""Wrong and true counts."""


@dataclass(frozen=True)
class Fold:
    """One sequence that was left out.

    Attributes:
        sequence: Its name.
        chosen: The variant that is best on all others.
        held_out: What that one counts of it.
        defaults: What the defaults count of it.
        best: What the variant counts that is best on this very sequence: the choice that nobody has.
    """

    sequence: str
    chosen: str
    held_out: Errors
    defaults: Errors
    best: Errors


def judge_variants(
    takes: Sequence[Take], copies: Sequence[str], say: Callable[[str], object]
) -> dict[str, dict[str, list[Errors]]]:
    """Count each sequence and its altered copies by each variant.

    Args:
        takes: The sequences, of different names.
        copies: Names of alterations.
        say: Told what is being done.

    Returns:
        By variant and sequence: its errors as it is, then those of the copies.

    Raises:
        UsageError: There are fewer than two sequences: nothing is left to choose on.
    """
    if len(takes) < 2:
        raise UsageError("Cross-validation needs two sequences or more: one to judge, others to choose on.")
    versions = {take.name: [take, *(ALTERATIONS[copy](take) for copy in copies)] for take in takes}
    judged: dict[str, dict[str, list[Errors]]] = {}
    for done, (name, variant) in enumerate(GRID.items(), start=1):
        say(f"variant {done} of {len(GRID)}: {name} ...")
        judged[name] = {
            sequence: [(wrong(count_take(take, variant), take.truth), take.n_true) for take in versions_of]
            for sequence, versions_of in versions.items()
        }
    return judged


def folds(judged: Mapping[str, Mapping[str, Sequence[Errors]]]) -> list[Fold]:
    """Leave out each sequence in turn.

    Args:
        judged: As of `judge_variants`, of two sequences or more; the first variant is the defaults.
    """
    variants = list(judged)
    sequences = list(judged[variants[0]])
    found: list[Fold] = []
    for left_out in sequences:

        def of_others(variant: str, left_out: str = left_out) -> float:
            rest = [errors for name, errors in judged[variant].items() if name != left_out]
            return wape(summed([pair for errors in rest for pair in errors])) or 0.0

        chosen = min(variants, key=of_others)
        by_variant = {variant: judged[variant][left_out][0] for variant in variants}
        found.append(
            Fold(left_out, chosen, by_variant[chosen], by_variant[variants[0]], min(by_variant.values()))
        )
    return found


def summed(errors: Sequence[Errors]) -> Errors:
    """Return wrong and true counts of all together."""
    return sum(pair[0] for pair in errors), sum(pair[1] for pair in errors)


def wape(errors: Errors) -> float | None:
    """Return wrong counts per true one; None if nothing is true."""
    return round(errors[0] / errors[1], 4) if errors[1] else None
