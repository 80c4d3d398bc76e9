"""Laws of a detection log's numbers: what is kept is what is counted."""

import io
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.arrays import Detections
from edge.capture.detlog import Header, Seen, beginning, block, read_blocks, read_header, read_spans, rounded

HEADER = Header(1, "door", 640, 480, 10.0, ("person", "car"))
numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
near = st.floats(-3_000, 9_000, width=32)


@st.composite
def detections(draw: st.DrawFn, *, wild: bool = False) -> Detections:
    n = draw(st.integers(0, 5))
    return Detections(
        draw(arrays(np.float32, (n, 4), elements=numbers if wild else near)),
        draw(arrays(np.float32, n, elements=numbers if wild else st.floats(0, 1, width=32))),
        draw(arrays(np.int16, n, elements=st.integers(0, 1))),
    )


def same(a: Detections, b: Detections) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        and getattr(a, name).dtype == getattr(b, name).dtype
        for name in ("xyxy", "score", "class_id")
    )


@given(detections(wild=True))
def test_rounding_twice_is_rounding_once_and_leaves_boxes_only(found: Detections) -> None:
    """What comes out has an area and a share as its score, whatever came in, and stays as it is."""
    once = rounded(found)
    assert same(rounded(once), once)
    assert (once.xyxy[:, 2:] > once.xyxy[:, :2]).all()
    assert ((once.score >= 0) & (once.score <= 1)).all()


@given(detections())
def test_rounding_moves_no_edge_by_more_than_a_sixteenth_of_a_pixel(found: Detections) -> None:
    """Boxes with a fair size are all kept, in order, and hardly moved."""
    size = found.xyxy[:, 2:].astype(np.float64) - found.xyxy[:, :2]
    found = Detections(
        *(part[(size > 0.25).all(axis=1)] for part in (found.xyxy, found.score, found.class_id))
    )
    kept = rounded(found)
    assert len(kept) == len(found)
    assert (np.abs(kept.xyxy.astype(np.float64) - found.xyxy) <= 1 / 16).all()
    assert (np.abs(kept.score.astype(np.float64) - found.score) < 1 / 199).all()


@given(st.integers(0, 200), st.floats(0, 1, width=32))
def test_rounding_carries_no_score_over_a_threshold(threshold: int, score: float) -> None:
    """A score is as far above or below a threshold of two decimals after as before."""
    limit = np.float32(threshold / 200)
    one = Detections(
        np.array([[0, 0, 9, 9]], np.float32), np.array([score], np.float32), np.zeros(1, np.int16)
    )
    if abs(score - float(limit)) > 1e-6 or np.float32(score) == limit:
        assert (rounded(one).score[0] >= limit) == (np.float32(score) >= limit)


@given(
    st.lists(st.tuples(st.integers(0, 2**42), detections()), min_size=1, max_size=8), st.integers(0, 10_000)
)
def test_what_is_written_is_read_again_and_a_torn_end_costs_one_record_only(
    frames: list[tuple[int, Detections]], cut: int
) -> None:
    """Times, boxes, scores and classes come back bit by bit; of a file that is cut anywhere, all whole records."""
    seen = [Seen(at_ms, rounded(found)) for at_ms, found in frames]
    head, blocks = beginning(HEADER), [block(seen[:1]), block(seen)]
    whole = head + b"".join(blocks)
    end = max(len(head), len(whole) - cut)
    file = io.BytesIO(whole[:end])
    assert read_header(file, Path("x")) == HEADER
    begin = file.tell()
    got = list(read_blocks(file))
    expected = [
        b for i, b in enumerate([seen[:1], seen]) if len(head) + sum(map(len, blocks[: i + 1])) <= end
    ]
    assert [len(one) for one in got] == [len(one) for one in expected]
    for one, other in zip(got, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.captured_at_ms == b.captured_at_ms
            assert same(a.detections, b.detections)
    file.seek(begin)
    assert [span.frames for span in read_spans(file)] == [len(one) for one in expected]


@given(st.data())
def test_a_damaged_byte_costs_no_more_than_its_record(data: st.DataObject) -> None:
    """A flipped byte in a payload leaves that block out; the others are read, and nothing raises."""
    seen = [Seen(1_000, rounded(data.draw(detections())))]
    head, one = beginning(HEADER), block(seen)
    at = data.draw(st.integers(8, len(one) - 1))
    damaged = bytearray(one)
    damaged[at] ^= data.draw(st.integers(1, 255))
    file = io.BytesIO(head + one + bytes(damaged) + one)
    read_header(file, Path("x"))
    assert len(list(read_blocks(file))) == 2
