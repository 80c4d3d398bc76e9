"""A folder of pictures as a recording, in the order in which a person would count them."""

import re
from pathlib import Path

import cv2

from countline.errors import UsageError
from countline.telemetry import Log
from edge.capture.player import Sight
from edge.frames import Image, SourceInfo

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
DEFAULT_FPS = 10.0
# A day of pictures at the default rate; the list of their names has to fit into memory.
MAX_PICTURES = 1_000_000

_log = Log("capture.folder")


class FolderReel:
    """The pictures of a folder, not of the folders in it."""

    def __init__(self, path: Path, fps: float = 0.0) -> None:
        """Name the folder.

        Args:
            path: Where the pictures are: jpg, png, bmp.
            fps: Their rate; 0 is `DEFAULT_FPS`.
        """
        self._path = path
        self._fps = fps or DEFAULT_FPS
        self._pictures: list[Path] = []
        self._position = -1
        self._size = (0, 0)

    def open(self) -> SourceInfo:
        """List the folder and look at its first picture; see `Reel.open`."""
        if not self._path.is_dir():
            raise UsageError(f"the folder of pictures {self._path} does not exist.")
        found = [path for path in self._path.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
        if not found:
            raise UsageError(
                f"the folder {self._path} holds no pictures: {', '.join(sorted(SUFFIXES))} are looked for."
            )
        if len(found) > MAX_PICTURES:
            raise UsageError(
                f"the folder {self._path} holds {len(found)} pictures; {MAX_PICTURES} are the most."
            )
        self._pictures = sorted(found, key=lambda path: _natural(path.name))
        first = cv2.imread(str(self._pictures[0]), cv2.IMREAD_COLOR)
        if first is None:
            raise UsageError(f"{self._pictures[0]} is not a picture that can be read, or a damaged one.")
        self._size = first.shape[1], first.shape[0]
        return SourceInfo(*self._size, fps=self._fps, frame_count=len(self._pictures))

    def advance(self) -> bool:
        """Go to the next picture."""
        self._position += 1
        return self._position < len(self._pictures)

    def sight(self) -> Sight | None:
        """Return the picture, in the size of the first one; None if it is damaged."""
        path = self._pictures[self._position]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            _log.warning("picture left out: it can't be read", path=path)
            return None
        return to_size(image, self._size), None  # pyright: ignore[reportArgumentType] - imread returns uint8

    def rewind(self) -> None:
        """Go back to the first picture."""
        self._position = -1

    def close(self) -> None:
        """Forget the list."""
        self._pictures = []


def to_size(image: Image, size: tuple[int, int]) -> Image:
    """Return the picture in a width and height; lines are drawn for one size. It is a new array only if it has to be."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # pyright: ignore[reportReturnType] - uint8 stays uint8


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts frame2 before frame10; the name itself decides between 1 and 01."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part] + [
        (2, 0, name)
    ]
