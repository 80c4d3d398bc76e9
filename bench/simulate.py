"""How right the counts of made-up scenes are, by scenario and frame rate, beside what people use today.

    python -m bench.simulate                                    all scenarios at 3 to 30 frames a second
    python -m bench.simulate --detector yolo11n --seeds 3 --scenario crowd pillar

Cells are wrong counts by true ones (WAPE); `--json` tells both. `bench.scenes` says what the scenes are,
`bench._detector` how they are seen. Everybody gets the same detections.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bench._detector import MODELS, DetectorModel
from bench._peers import HOW_TO_INSTALL, peers
from bench._report import arguments, progress, show
from bench._run import Take, count_take
from bench._truth import Counts, wrong
from bench.scenes import DEFAULT_SECONDS, FRAME_RATES, SCENARIOS, make

OURS = "Countline"
Counter = Callable[[Take], Counts]


def judge(
    scenario: str, seeds: Sequence[int], seconds: float, detector: DetectorModel, counters: dict[str, Counter]
) -> list[dict[str, Any]]:
    """Count one scenario at all frame rates; return one row per rate and counter, over all seeds."""
    rows: list[dict[str, Any]] = []
    for fps in FRAME_RATES:
        scenes = [make(scenario, fps, seed, seconds, detector) for seed in seeds]
        rows += [
            {
                "scenario": scenario,
                "fps": fps,
                "counter": name,
                "wrong": sum(wrong(counter(scene), scene.truth) for scene in scenes),
                "truth": sum(scene.n_true for scene in scenes),
            }
            for name, counter in counters.items()
        ]
    return rows


def with_sums(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their WAPE, and the sums over all scenarios as rows of the scenario "all"."""
    kinds = list(dict.fromkeys((row["fps"], row["counter"]) for row in rows))
    sums = [
        {
            "scenario": "all",
            "fps": fps,
            "counter": counter,
            **{
                key: sum(row[key] for row in rows if (row["fps"], row["counter"]) == (fps, counter))
                for key in ("wrong", "truth")
            },
        }
        for fps, counter in kinds
    ]
    return [
        {**row, "wape": round(row["wrong"] / row["truth"], 4) if row["truth"] else None}
        for row in [*rows, *sums]
    ]


def main() -> None:
    """Judge scenarios."""
    parser = arguments("Counting error on made-up scenes.")
    parser.add_argument("--scenario", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--detector", choices=list(MODELS), default="public", help="whose errors")
    parser.add_argument("--seeds", type=int, default=1, help="how many scenes of each; default 1")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="how long each is; default 60")
    parser.add_argument("--no-peers", action="store_true", help="leave out what others count")
    options = parser.parse_args()
    counters: dict[str, Counter] = {OURS: count_take}
    if not options.no_peers:
        counters |= peers()
        if len(counters) == 1:
            progress(HOW_TO_INSTALL)
    rows: list[dict[str, Any]] = []
    for scenario in options.scenario:
        progress(f"{scenario} ...")
        seeds = range(1, options.seeds + 1)
        rows += judge(scenario, seeds, options.seconds, MODELS[options.detector], counters)
    rows = with_sums(rows)
    result = {"detector": options.detector, "seeds": options.seeds, "seconds": options.seconds, "rows": rows}
    if options.json:
        show("", [], [], result, as_json=True)
        return
    # A table for each, so that all rates stand beside each other on a terminal.
    for name in counters:
        show(
            f"{name}: WAPE over eight lines by frames a second, {options.detector} detections",
            ["", "true", *(f"{fps:g}" for fps in FRAME_RATES)],
            cells([row for row in rows if row["counter"] == name]),
            result,
            as_json=False,
        )


def cells(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Return the table of one counter, of its rows by scenario and rate: a row for each scenario."""
    table: dict[str, list[Any]] = {}
    for row in rows:
        line = table.setdefault(row["scenario"], [row["scenario"], row["truth"]])
        line.append(f"{row['wape']:.3f}" if row["truth"] else f"{row['wrong']} wrong")
    return list(table.values())


if __name__ == "__main__":
    main()
