"""What every benchmark shares: a table for people, one JSON object for machines."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser that already knows `--json`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    return parser


def machine() -> dict[str, Any]:
    """Say what machine a figure was taken on."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def show(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    result: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Print a result.

    Args:
        title: Of the table.
        columns: Headings; all but the first are aligned to the right.
        rows: Cells.
        result: The same as data.
        as_json: Print `result` instead of the table.
    """
    if as_json:
        json.dump({**result, "machine": machine()}, sys.stdout)
        sys.stdout.write("\n")
        return
    table = Table(title=title)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console()
    console.print(table)
    about = machine()
    console.print(f"{about['cpu']}, {about['cores']} cores, Python {about['python']}", style="dim")


def progress(text: str) -> None:
    """Say on standard error what is being done."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _cpu_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                platform.processor(),
            )
    except OSError:
        return platform.processor()
