"""Who is calling, by header fields: RFC 3323, 3325 and Remote-Party-ID; the way of a call: RFC 7044 and RFC 5806."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaserver.sip.diversions import MOST, Diversion, diversions
from mediaserver.sip.headers import Headers, NameAddr
from mediaserver.sip.identity import ANONYMOUS, asserted_identity, identity_fields, number_of, wants_anonymity
from mediaserver.sip.uri import parse_sip_uri
from mediaserver.sip.user_to_user import MOST_BYTES, read_user_to_user

ANNA = NameAddr(parse_sip_uri("sip:+4930123@example.org"), "Anna")


def said(*fields: tuple[str, str]) -> Headers:
    return Headers(fields)


@pytest.mark.parametrize(
    ("fields", "number", "name"),
    [
        ([("P-Asserted-Identity", '"Anna B" <sip:+4930123@pbx.example>')], "+4930123", "Anna B"),
        ([("P-Asserted-Identity", "<tel:+49-30-123;phone-context=x>")], "+4930123", ""),
        ([("P-Asserted-Identity", "<sip:anonymous@x>, <tel:+4930123>")], "+4930123", ""),
        ([("Remote-Party-ID", '"Anna" <sip:123@pbx>;party=calling;screen=yes;privacy=off')], "123", "Anna"),
        ([("Remote-Party-ID", "<sip:1@x>;party=called"), ("Remote-Party-ID", "<sip:2@x>")], "2", ""),
        ([("Remote-Party-ID", "<sip:1@x>"), ("P-Asserted-Identity", "<sip:2@x>")], "2", ""),
        ([("P-Asserted-Identity", "<sip:broken"), ("Remote-Party-ID", "<sip:1@x>")], "1", ""),
    ],
)
def test_an_asserted_identity_is_read(fields: list[tuple[str, str]], number: str, name: str) -> None:
    found = asserted_identity(said(*fields))
    assert found is not None
    assert (number_of(found), found.display_name, found.params) == (number, name, ())


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("P-Asserted-Identity", "nonsense")],
        [("P-Asserted-Identity", "<sip:host.only>")],
        [("P-Asserted-Identity", "<mailto:anna@x>")],
        [("Remote-Party-ID", "<sip:1@x>;screen=no")],
        [("P-Preferred-Identity", "<sip:1@x>")],
    ],
)
def test_what_nobody_vouches_for_or_nobody_can_read_is_no_identity(fields: list[tuple[str, str]]) -> None:
    assert asserted_identity(said(*fields)) is None


def test_a_field_with_a_thousand_identities_is_not_read_to_its_end() -> None:
    many = ", ".join(["<sip:anonymous@x>"] * 1000 + ["<sip:1@x>"])
    assert asserted_identity(said(("P-Asserted-Identity", many))) is None


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (("Privacy", "id"), True),
        (("Privacy", "user;critical"), True),
        (("Privacy", "header;session;ID"), True),
        (("Privacy", "none"), False),
        (("Privacy", "history"), False),
        (("Privacy", 'id;"open'), True),
        (("Privacy", '"'), False),
        (("Remote-Party-ID", "<sip:1@x>;privacy=full"), True),
        (("Remote-Party-ID", "<sip:1@x>;privacy=off"), False),
    ],
)
def test_the_wish_to_be_anonymous(field: tuple[str, str], wanted: bool) -> None:
    assert wants_anonymity(said(field)) is wanted


@pytest.mark.parametrize(
    ("form", "withheld", "fields"),
    [
        ("none", False, []),
        ("none", True, [("Privacy", "id")]),
        ("asserted", False, [("P-Asserted-Identity", '"Anna" <sip:+4930123@example.org>')]),
        (
            "asserted",
            True,
            [("P-Asserted-Identity", '"Anna" <sip:+4930123@example.org>'), ("Privacy", "id")],
        ),
        ("preferred", False, [("P-Preferred-Identity", '"Anna" <sip:+4930123@example.org>')]),
        (
            "remote_party_id",
            True,
            [
                ("Remote-Party-ID", '"Anna" <sip:+4930123@example.org>;party=calling;screen=yes;privacy=full'),
                ("Privacy", "id"),
            ],
        ),
    ],
)
def test_an_identity_is_told_in_the_form_of_the_trunk(form: str, withheld: bool, fields: list[tuple[str, str]]) -> None:
    assert identity_fields(form, ANNA, withheld=withheld) == fields  # type: ignore[arg-type]


def test_nobody_known_is_nobody_asserted() -> None:
    assert identity_fields("asserted", None, withheld=False) == []
    assert str(ANONYMOUS) == '"Anonymous" <sip:anonymous@anonymous.invalid>'


def test_history_with_mapped_targets_names_those_who_were_left() -> None:
    history = said(
        ("History-Info", "<sip:4711@pbx.example>;index=1"),
        ("History-Info", "<sip:4712@pbx.example;cause=486>;index=1.1;mp=1, <sip:4712@10.0.0.9>;index=1.1.1;rc=1.1"),
        ("History-Info", "<sip:box@pbx.example;cause=408>;index=1.2;mp=1.1"),
    )
    assert diversions(history) == (Diversion("4711", "user-busy"), Diversion("4712", "no-answer"))


def test_history_of_the_older_kind_goes_by_its_reasons() -> None:
    history = said(
        ("History-Info", "<sip:4711@pbx?Reason=SIP%3Bcause%3D302>;index=1"),
        ("History-Info", "<sip:4712@pbx?Privacy=history&Reason=SIP%3Bcause%3D486>;index=1.1"),
        ("History-Info", "<sip:4713@pbx>;index=1.2"),
    )
    assert diversions(history) == (Diversion("4711", "unconditional"), Diversion("anonymous", "user-busy"))


def test_diversion_is_read_from_the_first_who_diverted() -> None:
    way = said(
        ("Diversion", '<sip:4712@pbx>;reason=no-answer;counter=1, "Box" <sip:4711@pbx>;reason="user-busy"'),
        ("Diversion", "<sip:4710@pbx>;privacy=full"),
    )
    assert diversions(way) == (
        Diversion("anonymous", "unknown"),
        Diversion("4711", "user-busy"),
        Diversion("4712", "no-answer"),
    )


@pytest.mark.parametrize("text", ["", "<sip:", '"open', "<sip:4711@pbx?Reason=%22;cause>;index=1", "x" * 5000])
def test_a_broken_way_is_no_way(text: str) -> None:
    assert diversions(said(("History-Info", text), ("Diversion", text))) == ()


def test_an_endless_way_is_bounded() -> None:
    way = said(*[("Diversion", ", ".join(f"<sip:{number}@pbx>" for number in range(100)))] * 50)
    assert len(diversions(way)) == MOST


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(alphabet='<sip:tel+a@b>;="%,?\\ 0.mpidnex', max_size=60))
def test_nothing_that_a_stranger_says_raises(text: str) -> None:
    names = ("P-Asserted-Identity", "Remote-Party-ID", "Privacy", "History-Info", "Diversion", "User-to-User")
    fields = said(*((name, text) for name in names))
    asserted_identity(fields)
    assert wants_anonymity(fields) in (True, False)
    assert len(diversions(fields)) <= MOST
    assert len(read_user_to_user(fields) or "") <= 2 * MOST_BYTES
