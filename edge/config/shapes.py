"""Settings of what is drawn on a camera's picture: lines, zones, gates, ground, heat-map."""

import difflib
import itertools
from typing import Annotated

from msgspec import Meta, Struct, field

from countline.events import Label, Name, Point, Way

MAX_LINES = 256
# Lines of a camera with an origin-destination matrix: it has a series for each pair of them and each class.
MAX_OD_LINES = 32
# A heat-map is coarse by intention: it says where people are, not who they are.
MAX_HEAT_SIDE = 64


class LineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A line to count over.

    Attributes:
        name: Unique within the camera.
        points: From A to B; two or more [x, y], in pixels, or in fractions of the picture if all are within 0 to 1.
        classes: Count only these; empty counts all that the camera detects.
        swap: Exchange in and out.
        sides: What lies on the left and on the right of A->B, such as ["street", "shop"].
        min_height: Do not count objects whose box is lower than this share of the picture's height.
        max_height: Do not count objects whose box is higher than this share; 1 is no limit.
    """

    name: Name
    points: list[Point]
    classes: list[Label] = []
    swap: bool = False
    sides: tuple[str, str] = ("", "")
    min_height: float = 0.0
    max_height: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a line that can never count."""
        if not 2 <= len(self.points) <= 64:
            raise ValueError(f"line {self.name!r} has {len(self.points)} points, 2 to 64 are allowed")
        for start, end in itertools.pairwise(self.points):
            if start == end:
                raise ValueError(
                    f"line {self.name!r} has a piece of zero length at {list(start)}: give it two different points"
                )
        _check_heights(f"line {self.name!r}", self.min_height, self.max_height)


class ZoneSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An area whose occupancy and visits are counted.

    Attributes:
        name: Unique within the camera.
        points: Its corners, three or more [x, y], in pixels or in fractions as for a line.
        classes: Count only these; empty counts all that the camera detects.
        min_height: Do not count objects whose box is lower than this share of the picture's height.
        max_height: Do not count objects whose box is higher than this share; 1 is no limit.
        max_occupancy: More than so many inside are too many; 0 is no limit.
        overcrowded_after_s: For how long there must be too many before it is said, and no longer too many before that is.
    """

    name: Name
    points: list[Point]
    classes: list[Label] = []
    min_height: float = 0.0
    max_height: float = 1.0
    max_occupancy: Annotated[int, Meta(ge=0)] = 0
    overcrowded_after_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what is no area."""
        if not 3 <= len(self.points) <= 64:
            raise ValueError(f"zone {self.name!r} has {len(self.points)} points, 3 to 64 are allowed")
        if _crosses_itself(self.points):
            raise ValueError(
                f"zone {self.name!r} has sides that cross: give its corners one after the other, around it"
            )
        _check_heights(f"zone {self.name!r}", self.min_height, self.max_height)
        if not 0 <= self.overcrowded_after_s <= 86_400:
            raise ValueError(
                f"zone {self.name!r} has overcrowded_after_s {self.overcrowded_after_s:g}, 0 to 86400 are allowed"
            )


class GateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A gate: over one line, then over another.

    Attributes:
        name: Unique within the camera.
        from_: The line that is crossed first.
        to: The line that is crossed then; it may be the same if the directions differ.
        within_s: Who takes longer from the one to the other is not counted.
        from_direction: In which direction the first must be crossed: "in", "out" or "any".
        to_direction: In which direction the second must be crossed.
    """

    name: Name
    from_: Name = field(name="from")
    to: Name
    within_s: float = 600.0
    from_direction: Way = Way.ANY
    to_direction: Way = Way.ANY

    def __post_init__(self) -> None:
        """Refuse a gate that nobody can pass, and one that everybody passes who turns round."""
        if not 0 < self.within_s <= 86_400:
            raise ValueError(
                f"gate {self.name!r} has within_s {self.within_s:g}, more than 0 and at most 86400 are allowed"
            )
        ways = {self.from_direction, self.to_direction}
        if self.from_ == self.to and ways != {Way.IN, Way.OUT}:
            raise ValueError(
                f"gate {self.name!r} goes from line {self.to!r} to itself: give two lines, or from_direction and "
                "to_direction that are in and out"
            )


class GroundSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Four points on the ground, so that speeds can be told in metres per second.

    Attributes:
        points: The corners of a rectangle that lies on the ground, in order around it, as for a line: such as a carpet, a
            parking space, or four marks that were measured.
        size_m: Its length from the first to the second point, and from the second to the third, in metres.
    """

    points: list[Point]
    size_m: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse what is no rectangle seen in perspective. Whether it is one is judged with the points in pixels."""
        if len(self.points) != 4:
            raise ValueError(f"ground has {len(self.points)} points, exactly 4 are needed")
        if not all(0 < side <= 100_000 for side in self.size_m):
            raise ValueError(f"ground has the size {list(self.size_m)} m, both sides must be above 0")


class HeatSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The heat-map of a camera: for how long people were where.

    Attributes:
        every_s: How often it is sent; 0 sends none.
        columns: Cells side by side.
        rows: Cells one above the other.
    """

    every_s: float = 300.0
    columns: Annotated[int, Meta(ge=1, le=MAX_HEAT_SIDE)] = 32
    rows: Annotated[int, Meta(ge=1, le=MAX_HEAT_SIDE)] = 18

    def __post_init__(self) -> None:
        """Refuse an interval of nothing, and one that floods the store."""
        if self.every_s and not 10 <= self.every_s <= 86_400:
            raise ValueError(f"heat has every_s {self.every_s:g}, 10 to 86400 are allowed, or 0 for none")


class LinesFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The file that `countline count --lines` takes: the same keys as a camera's."""

    lines: list[LineSettings] = []
    zones: list[ZoneSettings] = []
    gates: list[GateSettings] = []
    od: bool = False
    ground: GroundSettings | None = None
    person_height_m: float = 0.0
    heat: HeatSettings = HeatSettings()

    def __post_init__(self) -> None:
        """Refuse two of the same name, and gates without their lines."""
        check_unique("line", [line.name for line in self.lines])
        check_unique("zone", [zone.name for zone in self.zones])
        check_gates(self.gates, [line.name for line in self.lines], od=self.od)
        check_person_height(self.person_height_m)


def _check_heights(what: str, min_height: float, max_height: float) -> None:
    if not 0 <= min_height < max_height <= 1:
        raise ValueError(
            f"{what} counts boxes from min_height {min_height:g} to max_height {max_height:g}: give shares of the picture, "
            "0 to 1, the smaller one first"
        )


def _crosses_itself(corners: list[Point]) -> bool:
    """Say whether two sides of a polygon cross. Sides that only touch do not."""

    def turn(a: Point, b: Point, c: Point) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    sides = list(zip(corners, corners[1:] + corners[:1], strict=True))
    return any(
        turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0
        for (a, b), (c, d) in itertools.combinations(sides, 2)
    )


def check_gates(gates: list[GateSettings], lines: list[str], *, od: bool) -> None:
    """Raise ValueError if gates have the same name or need a line that is not there, or a matrix has too many lines."""
    if len(gates) > MAX_LINES:
        raise ValueError(f"there are {len(gates)} gates, {MAX_LINES} are allowed")
    check_unique("gate", [gate.name for gate in gates])
    for gate in gates:
        for line in (gate.from_, gate.to):
            if line not in lines:
                near = difflib.get_close_matches(line, lines, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"gate {gate.name!r} needs the line {line!r}, which is not there{hint}")
    if od and not 2 <= len(lines) <= MAX_OD_LINES:
        raise ValueError(f"od needs 2 to {MAX_OD_LINES} lines, and there are {len(lines)}")


def check_person_height(height_m: float) -> None:
    """Raise ValueError if nobody is so tall; 0 is allowed and tells no speeds."""
    if height_m and not 0.2 <= height_m <= 3:
        raise ValueError(f"person_height_m is {height_m:g}: give metres, such as 1.7, or 0 to tell no speeds")


def check_unique(what: str, names: list[str]) -> None:
    """Raise ValueError if a name stands there twice."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what}s are named {name!r}: names must be unique")
