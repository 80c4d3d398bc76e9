"""When a day's set hours are, in a site's local time. Pure: the time zone is an argument.

An hour that a day does not have, because the clocks are put forward over it, strikes at the jump. An hour that a day
has twice, because they are put back, strikes once, the first time.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_strike(after_ms: int, hours: Sequence[time], zone: tzinfo) -> int | None:
    """Return when the first of the hours strikes after `after_ms`, UTC epoch ms; None if there are no hours."""
    day = _day(after_ms, zone)
    # Clocks jump by less than a day and a half, once at a time: the strikes of these days hold the next one.
    return min(_after(after_ms, _strikes(day, (-2, 3), hours, zone)), default=None)


def last_strike(until_ms: int, hours: Sequence[time], zone: tzinfo) -> int | None:
    """Return when the last of the hours struck, up to and including `until_ms`; None if there are no hours."""
    day = _day(until_ms, zone)
    strikes = _strikes(day, (-3, 2), hours, zone)
    return max((strike_ms for strike_ms in strikes if strike_ms <= until_ms), default=None)


def strike_of(day: date, hour: time, zone: tzinfo) -> int:
    """Return when an hour strikes on a day, UTC epoch ms."""
    wanted = datetime.combine(day, hour)
    before, after = (_ms(wanted.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    # PEP 495: only of a time that does not exist is the second reading earlier than the first.
    return before if before <= after else _jump(after, before, zone)


def _strikes(day: date, days: tuple[int, int], hours: Sequence[time], zone: tzinfo) -> Iterable[int]:
    for shift in range(*days):
        for hour in hours:
            yield strike_of(day + timedelta(days=shift), hour, zone)


def _after(at_ms: int, strikes: Iterable[int]) -> Iterable[int]:
    return (strike_ms for strike_ms in strikes if strike_ms > at_ms)


def _jump(low_ms: int, high_ms: int, zone: tzinfo) -> int:
    """Return the first moment after `low_ms` at which the clocks show what they show at `high_ms`."""
    offset = _offset(high_ms, zone)
    while high_ms - low_ms > 1:
        middle_ms = (low_ms + high_ms) // 2
        if _offset(middle_ms, zone) == offset:
            high_ms = middle_ms
        else:
            low_ms = middle_ms
    return high_ms


def _day(at_ms: int, zone: tzinfo) -> date:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).date()


def _offset(at_ms: int, zone: tzinfo) -> timedelta | None:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).utcoffset()


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
