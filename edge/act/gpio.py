"""Switches outputs of the board, through libgpiod where it is installed."""

import contextlib
import importlib
from collections.abc import Sequence
from typing import Any

from countline.errors import UsageError
from countline.telemetry import Log
from edge.config.local import GpioAction

_log = Log("edge.act")


class Gpio:
    """The outputs that rules switch. All are off when it begins and when it ends."""

    def __init__(self, actions: Sequence[GpioAction], library: Any = None) -> None:
        """Take hold of the outputs.

        Args:
            actions: What rules will switch.
            library: The module `gpiod`; None imports it, if there is anything to switch.

        Raises:
            UsageError: The library is missing, or an output cannot be had.
        """
        self._outputs: dict[tuple[str, int], Any] = {}
        self._off_at_s: dict[tuple[str, int], float] = {}
        if not actions:
            return
        self._library = library or _gpiod()
        for action in actions:
            key = (action.chip, action.line)
            if key not in self._outputs:
                self._outputs[key] = self._open(action)

    def switch(self, action: GpioAction, *, is_on: bool, now_s: float) -> None:
        """Switch an output, and remember when its pulse ends. Trouble is said, it ends nothing."""
        key = (action.chip, action.line)
        self._off_at_s.pop(key, None)
        if is_on and action.pulse_s > 0:
            self._off_at_s[key] = now_s + action.pulse_s
        self._set(key, is_on=is_on)

    def tick(self, now_s: float) -> None:
        """End the pulses that are over."""
        for key in [key for key, off_at_s in self._off_at_s.items() if off_at_s <= now_s]:
            del self._off_at_s[key]
            self._set(key, is_on=False)

    def next_tick_s(self) -> float | None:
        """Return when the next pulse is over, on the clock of `now_s`."""
        return min(self._off_at_s.values(), default=None)

    def close(self) -> None:
        """Switch all off and let them go."""
        for key, output in self._outputs.items():
            self._set(key, is_on=False)
            with contextlib.suppress(OSError):
                output.release()
        self._outputs = {}

    def _open(self, action: GpioAction) -> Any:
        line = self._library.line
        settings = self._library.LineSettings(
            direction=line.Direction.OUTPUT, active_low=action.active_low, output_value=line.Value.INACTIVE
        )
        try:
            return self._library.request_lines(
                action.chip, consumer="countline", config={action.line: settings}
            )
        except (OSError, ValueError) as error:
            raise UsageError(
                f"A rule switches output {action.line} of {action.chip}, which cannot be had: {error}. "
                "`gpioinfo` lists what there is; the agent's user must be in the group gpio."
            ) from error

    def _set(self, key: tuple[str, int], *, is_on: bool) -> None:
        value = self._library.line.Value.ACTIVE if is_on else self._library.line.Value.INACTIVE
        try:
            self._outputs[key].set_value(key[1], value)
        except OSError as error:
            _log.warning("an output could not be switched", chip=key[0], line=key[1], reason=error.strerror)


def _gpiod() -> Any:
    try:
        return importlib.import_module("gpiod")
    except ImportError as error:
        raise UsageError(
            "A rule switches an output of the board, and the package for that is not installed: "
            "`pip install 'countline[gpio]'`, or take `gpio` out of the rule."
        ) from error
