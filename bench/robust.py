"""Whether the counts hold when the data are a little different, and what each idea of the counter is worth.

    python -m bench.robust --mot DIR             sequences and scenes, mirrored, rescaled, with frames left out, ...
    python -m bench.robust --mot DIR --ablate    each idea of tracker and lines left out, one at a time
    python -m bench.robust --mot DIR --cross-validate   settings chosen on all other sequences (`bench._cross`)

Sequences are those of `bench.counting`, by their public detections; scenes are those of `bench.scenes`, a fixed set.
Without --mot it is the scenes alone. A setting that is best on one version of the data and worse on its mirror image
was fitted to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench._alter import ALTERATIONS
from bench._cross import DEFAULTS, GRID, folds, judge_variants, summed, wape
from bench._detector import PUBLIC, YOLO11N
from bench._report import arguments, progress, show
from bench._run import AS_IT_IS, Take, Variant, count_take, seen_in
from bench._truth import standard_lines, wrong
from bench.counting import Case, cases
from bench.scenes import SCENARIOS, make
from countline.errors import UsageError
from edge.config import CameraSettings, DetectorSettings
from edge.track.tracker import TrackerSettings

Change = Callable[[TrackerSettings], TrackerSettings]


def _smoother(**changes: float) -> Change:
    return lambda settings: replace(settings, smoother=replace(settings.smoother, **changes))


def _link(**changes: float) -> Change:
    return lambda settings: replace(settings, link=replace(settings.link, **changes))


# What an idea is, and the settings without it.
ABLATIONS: dict[str, Change] = {
    "lost tracks are linked to new ones": _link(limit=0.0),
    "speeds before and after are compared": _link(speed=1e3),
    # Less than `lost_s` is never waited: that others are lost must be known.
    "a new track is looked at for a second, not 0.7 s": lambda settings: replace(settings, decide_s=0.0),
    "short tracks are linked too": lambda settings: replace(
        settings, link_hits=settings.confirm_hits, link_s=settings.confirm_s
    ),
    "tracks end soon, to be linked": lambda settings: replace(settings, lost_s=1.5, decide_s=1.5),
    "the scene's perspective": lambda settings: replace(settings, strange=0.0),
    "only what is covered is mistrusted": lambda settings: replace(settings, strange_overlap=0.0),
    "a new track reaches for its second box": lambda settings: replace(settings, first_reach=0.0),
    "lost tracks reach farther": lambda settings: replace(settings, reach=0.0),
    "weak detections go on with a track": lambda settings: replace(settings, weak_score=settings.sure_score),
    "tracks are confirmed": lambda settings: replace(
        settings, confirm_hits=1, confirm_s=0.0, link_hits=1, link_s=0.0
    ),
    "confirmation takes time, not frames": lambda settings: replace(settings, confirm_s=0.0, link_s=0.0),
    "patience is at least a frame and a half": lambda settings: replace(settings, patience_frames=0.0),
    "positions are smoothed at all": _smoother(measurement_x=0.001, measurement_y=0.001, correlation_s=0.0),
    "positions wait for their future": _smoother(lag_s=0.0),
    "a box's errors last": _smoother(correlation_s=0.0, measurement_x=0.12, measurement_y=0.2),
}
VARIANTS = {
    **{name: Variant(change(TrackerSettings())) for name, change in ABLATIONS.items()},
    "a line has a dead band": Variant(dead_band=0.0),
}
"""What counts without an idea, by its name: those of the tracker, and of the lines."""
# The alterations that an idea is judged on besides the sequences as they are.
ABLATION_COPIES = ("every 2nd frame", "every 4th frame", "boxes off by 3 %", "10 % missing")
SCENE_SECONDS = 30.0
# At 5, 10 and 30 frames a second with the errors of public detections, and with a better detector's at 10.
SCENE_KINDS = [(PUBLIC, 5.0), (PUBLIC, 10.0), (PUBLIC, 30.0), (YOLO11N, 10.0)]
SCENE_SEED = 101


def scenes() -> list[Take]:
    """Return the fixed set: each scenario by each kind of detector and frame rate."""
    return [
        make(scenario, fps, SCENE_SEED, SCENE_SECONDS, detector)
        for detector, fps in SCENE_KINDS
        for scenario in SCENARIOS
    ]


def sequences(folder: Path) -> list[Take]:
    """Return the sequences of a folder, by their detections.

    Raises:
        UsageError: None can be judged.
    """
    takes = [_take(case) for case in cases(folder, with_video=False)]
    if not takes:
        raise UsageError(f"{folder} holds no sequence with det.txt.")
    return takes


def total(takes: Sequence[Take], variant: Variant = AS_IT_IS) -> tuple[int, int]:
    """Return the wrong and the true counts of all takes together."""
    errors = sum(wrong(count_take(take, variant), take.truth) for take in takes)
    return errors, sum(take.n_true for take in takes)


def main() -> None:
    """Judge other versions of the data, or of the counter."""
    parser = arguments("Counting error on altered data, or with ideas left out.")
    parser.add_argument("--mot", type=Path, help="folder of MOT sequences with det.txt")
    parser.add_argument("--ablate", action="store_true", help="leave out each idea of tracker and lines")
    parser.add_argument(
        "--cross-validate",
        action="store_true",
        help="judge each sequence by settings that were chosen on the others, in minutes",
    )
    parser.add_argument("--no-scenes", action="store_true", help="leave out the made-up scenes")
    options = parser.parse_args()
    if options.cross_validate and not options.mot:
        parser.error("--cross-validate needs sequences: give their folder with --mot")
    try:
        groups = {take.name: [take] for take in sequences(options.mot)} if options.mot else {}
        if options.cross_validate:
            _cross_validate([take for takes in groups.values() for take in takes], as_json=options.json)
            return
    except UsageError as error:
        raise SystemExit(f"error: {error}") from error
    if not options.no_scenes or not groups:
        groups["scenes"] = scenes()
    if options.ablate:
        _show("Wrong counts without an idea, and WAPE", "without", _ablated(groups), as_json=options.json)
    else:
        _show("Wrong counts of altered data, and WAPE", "data", _altered(groups), as_json=options.json)


Results = dict[str, dict[str, tuple[int, int]]]
"""Wrong and true counts by row and group."""


def _altered(groups: dict[str, list[Take]]) -> Results:
    results: Results = {}
    for name, alter in ALTERATIONS.items():
        progress(f"{name} ...")
        results[name] = _with_sum(
            {group: total([alter(take) for take in takes]) for group, takes in groups.items()}
        )
    return results


def _ablated(groups: dict[str, list[Take]]) -> Results:
    results: Results = {}
    # One sequence is a small sample: its altered copies tell what is luck.
    takes = [take for group, takes in groups.items() if group != "scenes" for take in takes]
    if takes:
        copies = [ALTERATIONS[name](take) for name in ABLATION_COPIES for take in takes]
        groups = {**groups, "altered copies": copies}
    for name, variant in {"nothing": AS_IT_IS, **VARIANTS}.items():
        progress(f"without: {name} ...")
        results[name] = _with_sum({group: total(takes, variant) for group, takes in groups.items()})
    return results


def _cross_validate(takes: Sequence[Take], *, as_json: bool) -> None:
    found = folds(judge_variants(takes, ABLATION_COPIES, progress))
    sums = {
        "held_out": summed([fold.held_out for fold in found]),
        "defaults": summed([fold.defaults for fold in found]),
        "best": summed([fold.best for fold in found]),
    }
    rows = [
        [fold.sequence, fold.chosen, _cell(*fold.held_out), _cell(*fold.defaults), _cell(*fold.best)]
        for fold in found
    ]
    rows.append(["together", "", *(_cell(*errors) for errors in sums.values())])
    show(
        f"Wrong counts, and WAPE: the best of {len(GRID)} variants on all others, judged on what was left out",
        ["left out", "chosen", "held out", DEFAULTS, "best on itself"],
        rows,
        {
            "variants": list(GRID),
            "folds": [asdict(fold) for fold in found],
            "together": {
                name: {"wrong": errors[0], "truth": errors[1], "wape": wape(errors)}
                for name, errors in sums.items()
            },
        },
        as_json=as_json,
    )


def _show(title: str, heading: str, results: Results, *, as_json: bool) -> None:
    rows = [[name, *(_cell(*pair) for pair in counts.values())] for name, counts in results.items()]
    told = [
        {heading: name, "of": group, "wrong": errors, "truth": true, "wape": wape((errors, true))}
        for name, counts in results.items()
        for group, (errors, true) in counts.items()
    ]
    columns = [heading, *next(iter(results.values()))]
    show(title, columns, rows, {"rows": told}, as_json=as_json)


def _with_sum(counts: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return the counts with those of all sequences together, before those of the scenes."""
    others = {"scenes", "altered copies"}
    scenes_alone = {group: pair for group, pair in counts.items() if group in others}
    real = {group: pair for group, pair in counts.items() if group not in others}
    if len(real) > 1:
        errors, true = (sum(part) for part in zip(*real.values(), strict=True))
        real["sequences together"] = (errors, true)
    return {**real, **scenes_alone}


def _cell(errors: int, true: int) -> str:
    share = wape((errors, true))
    return f"{errors}/{true}" + ("" if share is None else f" ({share:.3f})")


def _take(case: Case) -> Take:
    width, height, fps = case.size
    camera = CameraSettings(
        name=case.sequence,
        source=case.source,
        lines=standard_lines(width, height),
        realtime=False,
        size=(width, height),
        fps=fps,
    )
    return seen_in(camera, DetectorSettings(model="none"), case.truth)


if __name__ == "__main__":
    main()
