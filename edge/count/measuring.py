"""What a camera counts and measures besides its lines and zones: from settings to values in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

from countline.errors import UsageError
from countline.events import GateShape, Point
from edge.config import CameraSettings, GateSettings
from edge.count.heat import HeatGrid
from edge.count.speed import Ground, KnownHeight, Scale

_PERSON = "person"


@dataclass(frozen=True, slots=True)
class Measuring:
    """All of it; the default measures nothing.

    Attributes:
        picture_height_px: What sizes are shares of; 0 where no line and no zone has limits of size.
        gates: To count by name.
        od: Whether to count all passages.
        ground: For the speed of everything.
        person: For the speed of people, where there is no ground.
        heat: How to map presence; None maps none.
    """

    picture_height_px: int = 0
    gates: tuple[GateShape, ...] = ()
    od: bool = False
    ground: Scale | None = None
    person: Scale | None = None
    heat: HeatGrid | None = None

    @property
    def tells_speed(self) -> bool:
        """Whether any class has a speed."""
        return self.ground is not None or self.person is not None

    def scale(self, cls: str) -> Scale | None:
        """Return how to tell the speed of a class; None if it cannot be told."""
        if self.ground is not None:
            return self.ground
        return self.person if cls == _PERSON else None


def measuring(settings: CameraSettings, width: int, height: int) -> Measuring:
    """Turn a camera's settings into what it measures.

    Args:
        settings: The camera's.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Raises:
        UsageError: A point of the ground lies outside the picture, or they are no rectangle's.
    """
    heat = settings.heat
    return Measuring(
        height,
        tuple(_gate(gate) for gate in settings.gates),
        settings.od,
        _ground(settings, width, height),
        KnownHeight(settings.person_height_m) if settings.person_height_m else None,
        HeatGrid(heat.columns, heat.rows, width, height, round(heat.every_s * 1000))
        if heat.every_s
        else None,
    )


def in_pixels(camera: str, what: str, points: Sequence[Point], width: int, height: int) -> list[Point]:
    """Return points in pixels; they are fractions of the picture if all are within 0 to 1.

    Args:
        camera: Its name, for messages.
        what: What has these points, for messages.
        points: As a person gave them.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Raises:
        UsageError: One of them lies outside the picture.
    """
    are_fractions = all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)
    scale = (width, height) if are_fractions else (1, 1)
    pixels = [(x * scale[0], y * scale[1]) for x, y in points]
    for x, y in pixels:
        if not (0 <= x <= width and 0 <= y <= height):
            raise UsageError(
                f"Camera {camera}: {what} has the point [{x:g}, {y:g}] outside its picture of {width}x{height} pixels: "
                "give points inside it, in pixels or in fractions from 0 to 1."
            )
    return pixels


def _gate(gate: GateSettings) -> GateShape:
    within_ms = max(1, round(gate.within_s * 1000))
    return GateShape(gate.name, gate.from_, gate.to, gate.from_direction, gate.to_direction, within_ms)


def _ground(settings: CameraSettings, width: int, height: int) -> Ground | None:
    if settings.ground is None:
        return None
    points = in_pixels(settings.name, "its ground", settings.ground.points, width, height)
    try:
        return Ground(points, settings.ground.size_m)
    except ValueError as error:
        raise UsageError(f"Camera {settings.name}: its ground cannot be measured: {error}.") from error
