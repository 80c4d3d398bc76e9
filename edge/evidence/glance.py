"""A glance at a picture: small enough to be thought about at every frame, at no cost to speak of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 80, 60

Grey = NDArray[np.uint8]
"""uint8, shape (HEIGHT, WIDTH): mean brightness of each cell of a grid over the whole picture."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is kept of one picture.

    Attributes:
        grey: Brightness of the cells, shape (HEIGHT, WIDTH). Noise is averaged out.
        grain: Single pixels, not averaged, always from the same places, uint8, shape (N,): a sensor's noise is in them.
    """

    grey: Grey
    grain: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Check the shapes."""
        assert self.grey.shape == (HEIGHT, WIDTH), f"grey has shape {self.grey.shape}"
        assert self.grain.ndim == 1, f"grain has shape {self.grain.shape}"
