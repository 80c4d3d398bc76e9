"""What runs a model: the few things that a detector needs of a library for inference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class RunError(Exception):
    """The library could not run the model on what it was given; the text is its own first line."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input of a model.

    Attributes:
        name: Its name.
        shape: Length of each axis; None where it takes any.
        dtype: NumPy's name of its numbers, such as "float32"; empty if NumPy has none.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Backend(Protocol):
    """A model, loaded by one library. One thread at a time uses it."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it returns, in order."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What its file says about it."""
        ...

    @property
    def runs_on(self) -> tuple[str, ...]:
        """What it runs on, preferred first, such as "CPUExecutionProvider" or "OpenVINO CPU bf16"."""
        ...

    @property
    def fallback(self) -> str:
        """One sentence on why it does not run on what was asked for; empty if it does."""
        ...

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> Sequence[NDArray[np.generic]]:
        """Return the outputs, in order, with their batch axis. The next run may overwrite them.

        Args:
            feeds: A contiguous array for each input, by its name.

        Raises:
            RunError: The library refuses.
        """
        ...

    def forget(self) -> None:
        """Let go of what was prepared for the sizes of earlier runs."""
        ...


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, cut to what fits into a sentence."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
