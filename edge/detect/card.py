"""What a model says about itself: its input, and the metadata that exports of the YOLO family carry."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from countline.errors import UsageError
from edge.detect.backend import Port

# What the YOLO family takes if the metadata don't say.
_DEFAULT_SIDE = 640
_DEFAULT_STRIDE = 32
_PICTURE_TYPES = frozenset({"float32", "float16"})


@dataclass(frozen=True, slots=True)
class Card:
    """What a model says about itself.

    Attributes:
        picture: Its picture input.
        sizes: Name of its input for the size that boxes are wanted in, as RT-DETR has it; empty if it has none.
        fixed_size: Width and height if it takes only one size.
        within: Width and height that it was exported for.
        stride: Sides of its input are multiples of it.
        names: Its classes; empty if it does not say.
        is_end_to_end: Whether its output needs no suppression; None if it does not say.
    """

    picture: Port
    sizes: str
    fixed_size: tuple[int, int] | None
    within: tuple[int, int]
    stride: int
    names: tuple[str, ...]
    is_end_to_end: bool | None

    @property
    def takes_many(self) -> bool:
        """Whether several pictures go into one run."""
        return self.picture.shape[0] is None


def read_card(inputs: Sequence[Port], metadata: Mapping[str, str]) -> Card:
    """Read a model's card.

    Args:
        inputs: What it takes.
        metadata: As the file has them: text, most of it Python literals.

    Raises:
        UsageError: It takes no picture in a way that is known.
    """
    pictures = [one for one in inputs if _is_picture(one)]
    others = [one for one in inputs if not _is_picture(one)]
    takes_sizes = len(others) == 1 and others[0].dtype == "int64" and others[0].shape[1:] == (2,)
    if len(pictures) != 1 or (others and not takes_sizes):
        found = ", ".join(_described(one) for one in inputs)
        raise UsageError(
            f"it is no detector that is known: it takes {found}; one input [1, 3, height, width] of float32 or float16 is needed, "
            "and for RT-DETR beside it orig_target_sizes [1, 2] of int64."
        )
    height, width = pictures[0].shape[2:]
    return Card(
        picture=pictures[0],
        sizes=others[0].name if others else "",
        fixed_size=(width, height) if width is not None and height is not None else None,
        within=_exported_size(_literal(metadata.get("imgsz"))),
        stride=_stride(_literal(metadata.get("stride"))),
        names=_names(_literal(metadata.get("names"))),
        is_end_to_end=_is_end_to_end(metadata),
    )


def _is_picture(port: Port) -> bool:
    return (
        len(port.shape) == 4
        and port.shape[0] in {None, 1}
        and port.shape[1] in {None, 3}
        and port.dtype in _PICTURE_TYPES
    )


def _described(port: Port) -> str:
    sides = ", ".join("any" if side is None else str(side) for side in port.shape)
    return f"{port.name} [{sides}] {port.dtype or 'of another type'}"


def _literal(text: str | None) -> object:
    """Return the Python literal that a metadata value holds; None if it holds none."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _exported_size(value: object) -> tuple[int, int]:
    """Return width and height; the metadata have height first, or one side for both."""
    sides = _items(value)
    known = [side for side in sides if isinstance(side, int) and 32 <= side <= 8192]
    return (known[-1], known[0]) if known and len(known) == len(sides) else (_DEFAULT_SIDE, _DEFAULT_SIDE)


def _stride(value: object) -> int:
    sides = [side for side in _items(value) if isinstance(side, int)]
    return max(sides) if sides and 1 <= max(sides) <= 256 else _DEFAULT_STRIDE


def _names(value: object) -> tuple[str, ...]:
    """Return names by class id, from {0: 'person'} or ['person']."""
    if isinstance(value, dict):
        known = cast("dict[object, object]", value)
        value = [known.get(i) for i in range(len(known))]
    names = _items(value)
    return () if None in names else tuple(str(name) for name in names)


def _is_end_to_end(said: Mapping[str, str]) -> bool | None:
    arguments = _literal(said.get("args"))
    has_nms = cast("dict[object, object]", arguments).get("nms") if isinstance(arguments, dict) else None
    # YOLOv10 says nothing at all, and nms=False says nothing about a model that needs none.
    return True if True in {_literal(said.get("end2end")) is True, has_nms is True} else None


def _items(value: object) -> list[object]:
    """Return a list's items, or one value as the only item."""
    return list(cast("list[object]", value)) if isinstance(value, (list, tuple)) else [value]
