"""The public holidays of a country as exclusions, from the package ``holidays``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftsched.cli.failures import usage

if TYPE_CHECKING:
    from raftsched_client import Exclusion


def read_holidays(place: str, years: range) -> list[Exclusion]:
    """Those of a country (``DE``) or a part of it (``DE-BY``), one a day. Raises Failure for a place not known."""
    from raftsched_client import Exclusion

    try:
        import holidays
    except ImportError:
        raise usage("--holidays needs the package holidays: pip install 'raftsched[holidays]'") from None
    country, _, part = place.partition("-")
    try:
        found = holidays.country_holidays(country.upper(), subdiv=part.upper() or None, years=years)
    except NotImplementedError as error:
        raise usage(f"--holidays: {place!r} is not known: {error}") from None
    return [Exclusion(date=day.isoformat(), reason=name[:200]) for day, name in sorted(found.items())]
