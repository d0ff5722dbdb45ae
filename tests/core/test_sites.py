"""Sites: who is where, and which lines lie between them."""

from __future__ import annotations

import pytest

from mediaserver.config.loader import load_text
from mediaserver.core.sites import Hop, SiteMap, link_between

COUNTRY = """
users: {ann: {secret: {env: A}}, bob: {secret: {env: B}}}
trunks: {pbx: {peers: [192.0.2.9], target: "sip:192.0.2.9"}}
sites:
  centre: {cidrs: [10.0.0.0/16], links: {munich: {cost: 1}, berlin: {cost: 10}}}
  munich: {cidrs: [10.1.0.0/16, 2001:db8:1::/48], trunks: [pbx], links: {nuremberg: {cost: 2}}}
  nuremberg: {cidrs: [10.1.7.0/24], links: {berlin: {cost: 3}}}
  berlin: {cidrs: [10.2.0.0/16], users: [bob]}
  island: {cidrs: [10.9.0.0/16]}
"""


def sites(text: str = COUNTRY) -> SiteMap:
    return SiteMap(load_text(text).config.sites)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("10.1.6.255", "munich"),
        ("10.1.7.0", "nuremberg"),
        ("10.1.7.255", "nuremberg"),
        ("10.1.8.0", "munich"),
        ("::ffff:10.1.7.1", "nuremberg"),
        ("2001:db8:1:ffff::1", "munich"),
        ("2001:db8:2::1", None),
        ("192.0.2.1", None),
        ("not an address", None),
        ("", None),
    ],
)
def test_the_longest_prefix_says_where_an_address_is(address: str, site: str | None) -> None:
    assert sites().site_of(address=address) == site


def test_a_trunk_counts_before_its_address_and_an_address_before_the_user() -> None:
    found = sites()
    assert found.site_of(address="10.2.0.1", trunk="pbx") == "munich"
    assert found.site_of(address="10.2.0.1", trunk="other") == "berlin"
    assert found.site_of(address="10.1.0.1", user="bob") == "munich"
    assert found.site_of(address="192.0.2.1", user="bob") == "berlin"
    assert found.site_of(address="192.0.2.1", user="ann") is None


def test_a_route_is_the_cheapest_whichever_end_it_starts_from() -> None:
    links = (link_between("centre", "munich"), link_between("munich", "nuremberg"), link_between("nuremberg", "berlin"))
    assert sites().route("centre", "berlin") == links
    assert sites().route("berlin", "centre") == links[::-1]
    assert sites().route("centre", "island") is None
    assert sites().route("centre", "centre") == ()


def test_of_equal_costs_the_fewest_links_and_then_the_first_name_win() -> None:
    square = """
sites:
  a: {links: {b: {cost: 1}, c: {cost: 1}, d: {cost: 2}}}
  d: {links: {b: {cost: 1}, c: {cost: 1}}}
  e: {links: {b: {cost: 5}, c: {cost: 5}}}
"""
    text = square + "  b: {cidrs: [10.0.0.0/8]}\n  c: {cidrs: [11.0.0.0/8]}\n"
    assert sites(text).route("a", "d") == (link_between("a", "d"),)
    assert sites(text).route("a", "e") == (link_between("a", "b"), link_between("b", "e"))


def test_with_a_site_that_is_here_a_leg_is_charged_the_way_to_here() -> None:
    found = sites(COUNTRY.replace("centre: {", "centre: {here: true, "))
    access = Hop("site", "centre")
    assert found.way("munich", "berlin") == (Hop("site", "munich"), link_between("centre", "munich"), access)
    assert found.way("centre") == ()
    assert found.way(None) == (access,)
    assert found.way("island") == (Hop("site", "island"), access)


def test_without_one_the_second_leg_is_charged_the_way_between_the_two() -> None:
    found = sites()
    assert found.way("munich") == (Hop("site", "munich"),)
    assert found.way("nuremberg", "munich") == (Hop("site", "nuremberg"), link_between("munich", "nuremberg"))
    assert found.way("munich", "munich") == (Hop("site", "munich"),)
    assert found.way("island", "munich") == (Hop("site", "island"),)
    assert found.way(None, "munich") == ()
