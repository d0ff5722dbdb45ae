"""The section of sites: where parties are, over which lines their media run, and how much fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from mediaserver.config.bandwidth import Rates
from mediaserver.config.base import Name, Section
from mediaserver.config.values import Cidr


class Link(Section):
    """A line to another site; it is written at one of its two ends and counts for both directions."""

    cost: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Calls take the way of the least sum; equal sums take the way of fewer links."""

    budget: Rates = Rates()
    """Most that all calls together send over the line, each way."""

    per_call: Rates = Rates()
    """Most that one leg sends over the line, each way."""


class Site(Section):
    """A place with its own lines; the key of the map is the site's name."""

    cidrs: tuple[Cidr, ...] = ()
    """Addresses that belong to the site; the longest matching prefix of all sites wins."""

    trunks: tuple[Name, ...] = ()
    """Trunks that stand at the site, whatever their address."""

    users: tuple[Name, ...] = ()
    """Users who are at the site where their address says nothing."""

    here: bool = False
    """This daemon stands at the site: every leg of another site is charged the way to here and its own access. Where no
    site says so, a call is charged the way straight from site to site."""

    budget: Rates = Rates()
    """Most that all legs together send over the site's own access, each way; media that stay at the site are free."""

    per_call: Rates = Rates()
    """Most that one leg sends over the site's own access, each way."""

    links: Mapping[Name, Link] = {}
    """Lines to other sites, by the other site's name."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Site:
        if not (self.cidrs or self.trunks or self.users or self.links or self.here):
            raise ValueError("say what belongs to the site: give at least one of cidrs, trunks, users, links or here")
        return self
