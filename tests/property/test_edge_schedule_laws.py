"""Laws of set hours, over the world's time zones."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.count.schedule import last_strike, next_strike, strike_of

# Half hours, day-long jumps, changes at midnight, two changes a year the other way round, and none at all.
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo",
    "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "Asia/Gaza", "Europe/Dublin", "Antarctica/Troll",
]  # fmt: skip
zones = st.sampled_from(ZONES).map(ZoneInfo)
hours = st.times().map(lambda hour: hour.replace(second=0, microsecond=0))
several = st.lists(hours, min_size=1, max_size=4, unique=True)
moments = st.integers(86_400_000, 2_500_000_000_000)
days = st.dates(date(1975, 1, 1), date(2037, 12, 31))


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(zone)


def ms(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@given(days, hours, zones)
@example(date(2024, 3, 31), time(2, 30), ZoneInfo("Europe/Berlin"))
@example(date(2011, 12, 30), time(4, 0), ZoneInfo("Pacific/Apia"))
def test_an_hour_strikes_when_the_clock_shows_it_or_at_the_jump_over_it(
    day: date, hour: time, zone: ZoneInfo
):
    """At the strike the clocks show the hour for the first time that day, or jump from before it to after it."""
    at_ms = strike_of(day, hour, zone)
    shown, wanted = local(at_ms, zone).replace(tzinfo=None), datetime.combine(day, hour)
    if shown != wanted:
        assert local(at_ms - 1, zone).replace(tzinfo=None) < wanted < shown
    assert local(at_ms, zone).fold == 0 or shown != wanted


@given(moments, several, zones)
def test_the_next_strike_is_the_first_after(at_ms: int, some: list[time], zone: ZoneInfo):
    """No hour strikes between a moment and the next strike, and one does within two days and a half."""
    strike_ms = next_strike(at_ms, some, zone)
    assert strike_ms is not None
    assert at_ms < strike_ms <= at_ms + 60 * 3_600_000
    assert next_strike(strike_ms - 1, some, zone) == strike_ms
    assert last_strike(strike_ms, some, zone) == strike_ms
    before_ms = last_strike(strike_ms - 1, some, zone)
    assert before_ms is not None
    assert before_ms <= at_ms


@given(st.dates(date(2000, 1, 1), date(2036, 12, 1)), several, zones)
def test_each_hour_strikes_once_a_day(first: date, some: list[time], zone: ZoneInfo):
    """Over three weeks there are as many strikes as hours, except for those that fall together in one jump."""
    expected = sorted({strike_of(first + timedelta(days=n), hour, zone) for n in range(21) for hour in some})
    found, at_ms = [], expected[0] - 1
    while len(found) < len(expected):
        strike_ms = next_strike(at_ms, some, zone)
        assert strike_ms is not None
        found.append(strike_ms)
        at_ms = strike_ms
    assert found == expected


@pytest.mark.parametrize(
    ("after", "hour", "strikes"),
    [
        # Spring: there is no half past two; it strikes at the jump from two to three.
        ("2026-03-29T00:00", "02:30", ["2026-03-29T03:00", "2026-03-30T02:30"]),
        # Autumn: half past two is there twice, and strikes the first time.
        ("2026-10-25T00:00", "02:30", ["2026-10-25T02:30", "2026-10-26T02:30"]),
        ("2026-11-21T03:59", "04:00", ["2026-11-21T04:00", "2026-11-22T04:00"]),
    ],
)
def test_the_days_on_which_berlin_changes_its_clocks(after: str, hour: str, strikes: list[str]):
    """The two days of the year that set hours go wrong on."""
    at_ms, found = ms(after, "Europe/Berlin"), []
    for _ in strikes:
        at_ms = next_strike(at_ms, [time.fromisoformat(hour)], ZoneInfo("Europe/Berlin")) or 0
        found.append(at_ms)
    assert found == [ms(strike, "Europe/Berlin") for strike in strikes]


def test_without_hours_nothing_ever_strikes():
    """A counter without a reset is never reset."""
    assert next_strike(0, [], UTC) is None
    assert last_strike(0, [], UTC) is None
