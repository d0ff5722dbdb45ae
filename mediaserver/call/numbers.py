"""Telephone numbers as a trunk writes them and as routes read them: to and from E.164, and which may be called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from mediaserver.config.trunks import NumberForm, Numbers

_PUNCTUATION: Final = re.compile(r"[\s().\-/]+")
_LONGEST: Final = 32
_COSTLY: Final = {
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.PERSONAL_NUMBER: "personal_number",
}
_NO_COUNTRY: Final = "001"
"""Region of numbers that belong to no country: satellites and international networks (+870, +881, +882, +883, +979)."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a number may not be called over a trunk."""

    reason: str
    """`premium_rate`, `shared_cost`, `personal_number`, `no_country` or `country`."""
    detail: str


@lru_cache(maxsize=8192)
def _parsed(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    """The number; None for a name, an extension, a service number like 110, or anything that no country has."""
    digits = _PUNCTUATION.sub("", text)
    if not 0 < len(digits) <= _LONGEST or not digits.removeprefix("+").isascii():
        return None
    if not digits.removeprefix("+").isdigit():
        return None
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_possible_number(number) else None


def to_e164(text: str, region: str | None) -> str:
    """`0301234567` in DE, `0049301234567`, `+49 30 1234567` -> `+49301234567`; what is no number stays as it is."""
    number = _parsed(text, region)
    if number is None:
        return text
    # Short national numbers (an extension like 4711) are possible in some countries, but valid nowhere.
    if not text.startswith("+") and not phonenumbers.is_valid_number(number):
        return text
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def written(text: str, form: NumberForm, region: str | None) -> str:
    """A number in one of the forms of the configuration; what is no number stays as it is."""
    if form == "as_is":
        return text
    e164 = to_e164(text, region)
    number = _parsed(e164, region) if e164.startswith("+") else None
    if number is None:
        return text
    if form == "e164":
        return e164
    if form == "plain":
        return e164.removeprefix("+")
    if (
        form == "national"
        and region is not None
        and phonenumbers.country_code_for_region(region) == number.country_code
    ):
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        return re.sub(r"\D", "", national)
    if region is None:
        return f"00{e164.removeprefix('+')}"
    abroad = phonenumbers.format_out_of_country_calling_number(number, _elsewhere(number, region))
    return re.sub(r"\D", "", abroad)


def _elsewhere(number: phonenumbers.PhoneNumber, region: str) -> str:
    """The region to dial from. Inside one country the library leaves the prefix out: another with 00 takes its place."""
    if phonenumbers.country_code_for_region(region) != number.country_code:
        return region
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    prefix = metadata.international_prefix if metadata is not None else None
    return "CA" if prefix == "011" and number.country_code != 1 else "GB" if number.country_code != 44 else "FR"


class NumberPlan:
    """The number rules of one trunk."""

    def __init__(self, rules: Numbers) -> None:
        self._rules = rules

    def read(self, text: str | None) -> str | None:
        """A number of a call that came in, as routes see it."""
        if text is None or self._rules.incoming == "as_is":
            return text
        return to_e164(text, self._rules.region)

    def called(self, text: str) -> str:
        """A called number as the trunk wants it."""
        return self._rules.prefix + written(text, self._rules.called, self._rules.region)

    def caller(self, text: str | None) -> str | None:
        """A calling number as the trunk wants it; None is anonymous."""
        chosen = text or self._rules.own
        return None if chosen is None else written(chosen, self._rules.caller, self._rules.region)

    def denied(self, text: str) -> Denied | None:
        """Why this number may not be called; None where it may."""
        rules = self._rules
        number = _parsed(to_e164(text, rules.region), rules.region)
        if number is None:
            return None
        kind = _COSTLY.get(phonenumbers.number_type(number))
        if kind is not None and not rules.premium:
            return Denied(kind, "numbers.premium does not allow it")
        region = phonenumbers.region_code_for_number(number)
        if region == _NO_COUNTRY and not rules.premium:
            return Denied("no_country", "satellites and international networks: numbers.premium does not allow them")
        if rules.countries and region not in rules.countries:
            return Denied("country", f"{region or 'an unknown country'} is not in numbers.countries")
        return None
