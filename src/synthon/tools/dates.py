"""Dates: today, days between, a date so far from another."""

from __future__ import annotations

import calendar as months
import datetime as dt

from synthon.core.recording import now
from synthon.tools.function import tool


@tool(effects={"read"})
async def today() -> str:
    """Tell today's date (UTC) and its weekday."""
    return _worded(now().date())


@tool(effects=())
def days_between(first: dt.date, last: dt.date) -> int:
    """Count the days from one date (YYYY-MM-DD) to another; negative where the last comes first."""
    return (last - first).days


@tool(effects=())
def date_after(date: dt.date, years: int = 0, months: int = 0, weeks: int = 0, days: int = 0) -> str:
    """Find the date so long after a date (YYYY-MM-DD), before it for negative numbers, and its weekday.

    Years and months come first; a day the month does not have becomes its last.
    """
    month = date.year * 12 + date.month - 1 + 12 * years + months
    first = dt.date(month // 12, month % 12 + 1, 1)
    moved = first.replace(day=min(date.day, _length(first)))
    return _worded(moved + dt.timedelta(weeks=weeks, days=days))


calendar = (today, days_between, date_after)
"""All tools for dates."""


def _length(date: dt.date) -> int:
    return months.monthrange(date.year, date.month)[1]


def _worded(date: dt.date) -> str:
    return f"{date.isoformat()}, {months.day_name[date.weekday()]}"
