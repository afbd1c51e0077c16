"""Lengths of time in words, and instants in figures."""

from datetime import UTC, datetime, timedelta

_UNITS = (
    (86_400_000_000, "day", "days"),
    (3_600_000_000, "h", "h"),
    (60_000_000, "min", "min"),
    (1_000_000, "s", "s"),
)
_SECOND_US = 1_000_000
_MILLISECOND_US = 1_000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def in_utc(time_us: int) -> str:
    """An instant, given in microseconds since the Unix epoch, as in ``2026-01-01T00:00:00Z`` (RFC 3339)."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def in_words(length_us: int) -> str:
    """In the largest unit that it is a whole number of: ``366 days``, ``90 s``, ``10 ms``; else as ``1.5 s``."""
    for size_us, one, many in _UNITS:
        count, rest = divmod(length_us, size_us)
        if count and not rest:
            return f"{count:,} {one if count == 1 else many}"
    if 0 < length_us < _SECOND_US and not length_us % _MILLISECOND_US:
        return f"{length_us // _MILLISECOND_US} ms"
    return f"{length_us / _SECOND_US:,.6f}".rstrip("0").rstrip(".") + " s"
