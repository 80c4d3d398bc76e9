"""Names of COCO's classes, for models of eighty or ninety-one classes that do not name them."""

CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag",
    "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat",
    "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork",
    "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog",
    "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv",
    "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The eighty, by the class id that YOLO and RT-DETR models give them."""

# The data set's own numbers run from 1 to 90 and leave these out.
_GAPS = frozenset({0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


def by_category() -> tuple[str, ...]:
    """Return ninety-one names by the data set's own category id, as RF-DETR gives them; gaps are called by number."""
    names = iter(CLASSES)
    return tuple(f"class{number}" if number in _GAPS else next(names) for number in range(91))
