"""Draws a heat-map over a picture and writes it as a file."""

from pathlib import Path

import cv2
import numpy as np

from countline.errors import UsageError
from edge.frames import Image
from edge.tally import HeatTally

SUFFIXES = frozenset({".png", ".jpg"})
# How much of the picture is still seen where most people were.
_STRENGTH = 0.7


def check_heatmap(path: Path) -> None:
    """Refuse a file that cannot be written, before hours are spent on counting.

    Raises:
        UsageError: Its name or its folder is not usable.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"Cannot write the heat-map {path}: its name must end in {' or '.join(sorted(SUFFIXES))}."
        )
    if not path.parent.is_dir():
        raise UsageError(f"Cannot write the heat-map {path}: the folder must exist.")


def write_heatmap(path: Path, ground: Image | None, size: tuple[int, int], heat: HeatTally) -> None:
    """Write where people were, all classes together: the longer, the brighter.

    Args:
        path: See `check_heatmap`.
        ground: A picture of the scene, BGR; None draws on grey.
        size: Width and height of the picture, pixels.
        heat: Its grid covers the picture.

    Raises:
        UsageError: The file cannot be written.
    """
    picture = np.full((size[1], size[0], 3), 60, dtype=np.uint8) if ground is None else ground
    grid = np.zeros(max(1, heat.columns * heat.rows), dtype=np.float32)
    for layer in heat.presence_ms.values():
        for cell, presence_ms in layer.items():
            grid[cell] += presence_ms
    # The root, because a few cells in which somebody waits would hide the ways of all others.
    grid = np.sqrt(grid / max(1.0, float(grid.max()))).reshape(max(1, heat.rows), -1)
    share = np.clip(cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    weight = (share * _STRENGTH)[..., None]
    drawn = (picture * (1 - weight) + colours * weight).astype(np.uint8)
    if not cv2.imwrite(str(path), drawn):
        raise UsageError(f"Cannot write the heat-map {path}: the folder must be writable.")
