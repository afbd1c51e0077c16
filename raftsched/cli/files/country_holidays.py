"""The public holidays of a country as exclusions, from the package ``holidays``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from raftsched.cli.failures import usage
from raftsched.cli.show.output import note

if TYPE_CHECKING:
    from raftsched_client import Exclusion


def read_holidays(place: str, years: range) -> list[Exclusion]:
    """Those of a country (``DE``) or a part of it (``DE-BY``), one a day.

    Raises Failure: the place is not known, or not what its holidays are in one of these years.
    """
    from raftsched_client import Exclusion

    try:
        import holidays
    except ImportError:
        raise usage("--holidays needs the package holidays: pip install 'raftsched[holidays]'") from None
    country, dash, part = place.partition("-")
    try:
        if dash and not part:
            raise NotImplementedError("it ends with a dash")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = holidays.country_holidays(country.upper(), subdiv=_part(country.upper(), part), years=years)
    except NotImplementedError as error:
        raise usage(f"--holidays: {place!r} is not known: {error}") from None
    for each in said:
        note(f"--holidays {place}: {each.message}")
    if missing := sorted(set(years) - {day.year for day in found}):
        raise usage(
            f"--holidays: those of {place!r} in {missing[0]} are not known; the package holidays has them from "
            f"{found.start_year} to {found.end_year}. Give other --years"
        )
    return [
        Exclusion(date=day.isoformat(), reason=name[:200]) for day, name in sorted(found.items()) if day.year in years
    ]


def _part(country: str, part: str) -> str | None:
    """As the package spells it: an ISO 3166 code, or a name. Raises NotImplementedError: there is no such country."""
    import holidays

    known = holidays.country_holidays(country)
    spelled = {each.casefold(): each for each in (*known.subdivisions, *known.subdivisions_aliases)}
    return spelled.get(part.casefold(), part.upper()) or None
