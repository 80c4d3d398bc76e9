"""What a recording's counting came to: as JSON, as tables, as CSV."""

import csv
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from countline.errors import UsageError
from countline.events import LineDoubt
from edge.tally import GateTally, HeatTally, LineTally, Occupancy, StayTally, Tally, ZoneTally


def as_json(tally: Tally) -> str:
    """Return the tally as one JSON object on one line; the single crossings are left to the CSV."""
    whole = {
        "lines": [_line(line) for line in tally.lines],
        "zones": [_zone(tally, zone) for zone in tally.zones],
        "gates": [{"name": gate.gate, **_gate(gate)} for gate in tally.gates],
        "od": [_gate(pair) for _, pair in sorted(tally.od.items())],
        "heat": _heat(tally.heat),
        "doubts": [_doubt(doubt) for doubt in tally.doubts.values()],
        "frames": tally.frames,
        "frames_expected": tally.frames_expected,
        "complete": tally.is_complete,
        "seconds": round(tally.seconds, 3),
    }
    return json.dumps(whole, ensure_ascii=False)


def _line(line: LineTally) -> dict[str, Any]:
    speed = {
        "mean_m_s": _rounded(line.mean_speed_m_s(), 2),
        "n": sum(len(speeds) for speeds in line.speeds_m_s.values()),
        "classes": {
            cls: {"mean_m_s": _rounded(line.mean_speed_m_s(cls), 2), "n": len(speeds)}
            for cls, speeds in line.speeds_m_s.items()
        },
    }
    return {
        "name": line.name,
        "in": line.in_,
        "out": line.out,
        "classes": line.classes,
        "speed": speed if line.speeds_m_s else None,
    }


def _zone(tally: Tally, zone: ZoneTally) -> dict[str, Any]:
    return {
        "name": zone.name,
        **_stays(tally, zone.all),
        "crowded": {"n": zone.crowded_n, "seconds": round(zone.crowded_ms / 1000, 3)},
        "classes": {cls: _stays(tally, stays) for cls, stays in sorted(zone.classes.items())},
    }


def _stays(tally: Tally, stays: StayTally) -> dict[str, Any]:
    occupancy = tally.occupancy(stays)
    return {
        "entries": stays.entries,
        "exits": stays.exits,
        "mean_dwell_ms": _rounded(stays.mean_dwell_ms, 1),
        "max": occupancy.max,
        "occupancy": {
            "mean": round(occupancy.mean, 3),
            "max": occupancy.max,
            "min": occupancy.min,
            "last": occupancy.last,
        },
    }


def _gate(gate: GateTally) -> dict[str, Any]:
    return {
        "from": gate.origin,
        "to": gate.destination,
        "n": gate.count(),
        "median_travel_ms": gate.median_travel_ms(),
        "classes": {
            cls: {"n": gate.count(cls), "median_travel_ms": gate.median_travel_ms(cls)}
            for cls in sorted(gate.travel_ms)
        },
    }


def _heat(heat: HeatTally) -> dict[str, Any]:
    classes = {
        cls: {"cells": sorted(layer), "presence_ms": [layer[cell] for cell in sorted(layer)]}
        for cls, layer in sorted(heat.presence_ms.items())
    }
    return {"columns": heat.columns, "rows": heat.rows, "classes": classes}


def _doubt(doubt: LineDoubt) -> dict[str, Any]:
    return {"line": doubt.line, "reason": doubt.reason, "says": doubt.says, "evidence": doubt.evidence}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def print_tables(tally: Tally) -> None:
    """Print the tally to standard output."""
    console = Console(highlight=False)
    console.print(_line_table(tally))
    if tally.zones:
        console.print(_zone_table(tally))
    if tally.gates:
        console.print(_gate_table(tally.gates))
    if tally.od:
        console.print(_matrix(tally))
    for doubt in tally.doubts.values():
        console.print(f"Line {doubt.line} cannot count well. {doubt.says}", soft_wrap=True, markup=False)


def _table(columns: dict[str, str], title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left")
    for name, where in columns.items():
        table.add_column(name, justify=where)  # type: ignore[arg-type]
    return table


def _line_table(tally: Tally) -> Table:
    has_speed = any(line.speeds_m_s for line in tally.lines)
    columns = {"line": "left", "class": "left", "in": "right", "out": "right"}
    table = _table(
        columns | ({"mean speed": "right"} if has_speed else {}),
        f"{tally.frames} frames in {tally.seconds:.1f} s",
    )
    for line in tally.lines:
        speed = [_speed(line.mean_speed_m_s())] if has_speed else []
        table.add_row(line.name, _all_or(line.classes), f"{line.in_}", f"{line.out}", *speed)
        if len(line.classes) > 1:
            for cls, n in sorted(line.classes.items()):
                speed = [_speed(line.mean_speed_m_s(cls))] if has_speed else []
                table.add_row("", cls, f"{n['in']}", f"{n['out']}", *speed, style="dim")
    return table


def _zone_table(tally: Tally) -> Table:
    right = dict.fromkeys(("entries", "exits", "stay", "mean", "max", "min", "last", "too full"), "right")
    table = _table({"zone": "left", "class": "left", **right})
    for zone in tally.zones:
        crowded = f"{zone.crowded_n} x, {zone.crowded_ms / 1000:.0f} s" if zone.crowded_n else "-"
        table.add_row(zone.name, _all_or(zone.classes), *_stay_cells(tally, zone.all), crowded)
        if len(zone.classes) > 1:
            for cls, stays in sorted(zone.classes.items()):
                table.add_row("", cls, *_stay_cells(tally, stays), "", style="dim")
    return table


def _stay_cells(tally: Tally, stays: StayTally) -> list[str]:
    stay = "-" if stays.mean_dwell_ms is None else f"{stays.mean_dwell_ms / 1000:.1f} s"
    return [f"{stays.entries}", f"{stays.exits}", stay, *_occupancy_cells(tally.occupancy(stays))]


def _occupancy_cells(occupancy: Occupancy) -> list[str]:
    return [f"{occupancy.mean:.2f}", f"{occupancy.max}", f"{occupancy.min}", f"{occupancy.last}"]


def _gate_table(gates: list[GateTally]) -> Table:
    table = _table(
        {"gate": "left", "from": "left", "to": "left", "class": "left", "n": "right", "usual time": "right"}
    )
    for gate in gates:
        names = (gate.gate, gate.origin, gate.destination, _all_or(gate.travel_ms))
        table.add_row(*names, f"{gate.count()}", _seconds(gate.median_travel_ms()))
        if len(gate.travel_ms) > 1:
            for cls in sorted(gate.travel_ms):
                n, usual = f"{gate.count(cls)}", _seconds(gate.median_travel_ms(cls))
                table.add_row("", "", "", cls, n, usual, style="dim")
    return table


def _matrix(tally: Tally) -> Table:
    """Return who went from which line (rows) to which line (columns), and the usual time."""
    names = [line.name for line in tally.lines]
    table = _table({"from / to": "left"} | dict.fromkeys(names, "right"))
    for origin in names:
        pairs = [tally.od.get((origin, destination)) for destination in names]
        table.add_row(
            origin,
            *(f"{pair.count()} ({_seconds(pair.median_travel_ms())})" if pair else "-" for pair in pairs),
        )
    return table


def _all_or(classes: dict[str, Any]) -> str:
    return next(iter(classes)) if len(classes) == 1 else "all"


def _speed(speed_m_s: float | None) -> str:
    return "-" if speed_m_s is None else f"{speed_m_s:.2f} m/s"


def _seconds(duration_ms: float | None) -> str:
    return "-" if duration_ms is None else f"{duration_ms / 1000:.1f} s"


def write_csv(tally: Tally, path: Path) -> None:
    """Write one row for each crossing.

    Raises:
        UsageError: The file cannot be written.
    """
    columns = ("at_ms", "time_s", "line", "direction", "class", "track", "speed_m_s")
    try:
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(columns)
            writer.writerows(
                (row.at_ms, row.time_s, row.line, row.direction, row.cls, row.track, row.speed_m_s)
                for row in tally.crossings
            )
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from error
