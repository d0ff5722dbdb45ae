"""The loader: every mistake at once, at its line and column, with what would be right."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.config.loader import InvalidConfig, load, load_text
from mediaserver.config.model import Config


def problems(text: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(InvalidConfig) as caught:
        load_text(text, file="f.yaml")
    return [(found.line, found.column, found.key, found.message) for found in caught.value.problems]


def test_an_empty_file_is_all_defaults() -> None:
    assert load_text("").config == Config()
    assert load_text("# nothing yet\n").config == Config()


def test_a_value_replaces_its_default_only() -> None:
    config = load_text("media: {rtp_timeout: 10s}\n").config
    assert config.media.rtp_timeout == 10.0
    assert config.media.latching_window == Config().media.latching_window


def test_every_mistake_is_told_at_once_with_its_place() -> None:
    found = problems(
        "web:\n  pages: on\nmedia:\n  rtp_timeout: 30\n  sip_ports: 10-20\nroutes:\n  - to: {user: nobody}\n"
    )
    assert [(line, column, key) for line, column, key, _ in found] == [
        (2, 3, "web.pages"),
        (4, 3, "media.rtp_timeout"),
        (5, 3, "media.sip_ports"),
        (7, 10, "routes[0].to.user"),
    ]


def test_an_unknown_key_names_the_one_that_was_meant() -> None:
    [(line, column, key, message)] = problems("listeners:\n  sip:\n    upd: 5060\n")
    assert (line, column, key) == (3, 5, "listeners.sip.upd")
    assert message == "there is no such key; did you mean udp?"


def test_an_unknown_key_like_no_other_lists_those_there_are() -> None:
    [(_, _, _, message)] = problems("web: {colour: red}\n")
    assert message == "there is no such key; known here: pages, origin, path_prefix"


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    [(line, _, key, message)] = problems("web: {pages: true}\nlog: {}\nweb: {pages: false}\n")
    assert (line, key) == (3, "web")
    assert "first in line 1" in message


def test_a_missing_key_is_told_at_the_place_where_it_should_stand() -> None:
    [(line, column, key, message)] = problems("users:\n  bob:\n    display_name: Bob\n")
    assert (line, column, key) == (2, 3, "users.bob.secret")
    assert message.startswith("is missing: Password")


def test_a_wrong_choice_names_the_right_ones() -> None:
    [(_, _, key, message)] = problems("media: {audio_codecs: [pcmu]}\n")
    assert key == "media.audio_codecs[0]"
    assert message == "expected 'opus', 'G722', 'PCMA' or 'PCMU', found pcmu; did you mean PCMU?"


def test_a_secret_written_into_the_file_is_refused_and_not_repeated() -> None:
    [(_, _, key, message)] = problems("users: {bob: {secret: hunter2}}\n")
    assert key == "users.bob.secret"
    assert "never stands in this file" in message
    assert "hunter2" not in message


def test_a_secret_under_a_wrong_key_is_not_repeated() -> None:
    for text in ("users: {bob: {secret: {file: [hunter2]}}}\n", "secrets: {site_keys: {a: hunter2}}\n"):
        assert all("hunter2" not in message for *_, message in problems(text))


def test_words_of_old_yaml_stay_text() -> None:
    config = load_text("routes: [{match: {called: no, caller: 12:30}, to: {refuse: 404}}]\n").config
    assert config.routes[0].match.called == "no"
    assert config.routes[0].match.caller == "12:30"


def test_numbers_as_user_names_keep_their_zeros() -> None:
    config = load_text("users: {0815: {secret: {env: X}}}\n").config
    assert list(config.users) == ["0815"]


def test_a_number_where_text_belongs_is_told_to_be_quoted() -> None:
    [(_, _, _, message)] = problems("routes: [{match: {called: 112}, to: {refuse: 404}}]\n")
    assert message == "expected text, found 112: put it in quotes"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\n", "is not YAML"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("- 1\n", "expected a mapping with the sections"),
        ("web: {pages: !!python/name:os.system }\n", "is not YAML|means nothing here"),
        ("media: &m {gso: true, x: *m}\n", "nested too deeply"),
    ],
)
def test_what_is_no_mapping_of_plain_values_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        load_text(text)


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml")
    broken = tmp_path / "latin1.yaml"
    broken.write_bytes(b"log: {level: \xe4}\n")
    with pytest.raises(InvalidConfig, match="is not UTF-8 text"):
        load(broken)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("entries: {a: {to: {user: bob}}}\n", "entries.a.to.user", "there is no 'bob' in users; users is empty"),
        ("entries: {a: {announcement: hi}}\n", "entries.a.announcement", "announcements is empty"),
        ("networks: {inside: {}}\nlisteners: {sip: {networks: [insid]}, webrtc: {networks: [inside]}}\n",
         "listeners.sip.networks[0]", "did you mean 'inside'?"),
        ("listeners: {sip: {tls: 5060}}\n", "listeners.sip.tls", "a port of its own"),
        ("listeners: {webrtc: {port: 20500}}\n", "listeners.webrtc.port", "inside media.sip_ports"),
        ("rooms: {video_slots: 26}\n", "rooms.video_slots", "limits.tracks_per_transport (32)"),
        ("listeners: {webrtc: {port: 5060}}\n", "listeners.webrtc.port", "UDP port of SIP"),
        ("listeners: {webrtc: {tcp: 5061}}\n", "listeners.webrtc.tcp", "TCP port of SIP"),
        ("listeners: {shared_tls: {bind: ['0.0.0.0:8443']}}\n", "listeners.shared_tls.bind[0]", "taken by listeners.https"),
        ("listeners: {shared_tls: {names: ['*.example.org']}}\n", "listeners.shared_tls.names[0]", "a name in DNS"),
        ("listeners: {webrtc: {tcp: 65536}}\n", "listeners.webrtc.tcp", "expected same, a TCP port"),
        ("listeners: {webrtc: {tcp: true}}\n", "listeners.webrtc.tcp", "expected same, a TCP port"),
        ("listeners: {webrtc: {port: 5058, port_count: 4}}\n", "listeners.webrtc.port", "5058-5061 is the UDP port of SIP"),
        ("listeners: {webrtc: {port: 19998, port_count: 4}}\n", "listeners.webrtc.port", "inside media.sip_ports"),
        ("listeners: {webrtc: {port: 65534, port_count: 4}}\n", "listeners.webrtc", "beyond 65535"),
        ("listeners: {admin: {bind: ['127.0.0.1:8080']}}\n", "listeners.admin.bind[0]", "taken by listeners.http"),
        ("media: {video_codecs: [VP8]}\nentries: {a: {video_codecs: [H264]}}\n",
         "entries.a.video_codecs", "no codec in common"),
        ("entries: {a: {to: {refuse: 480}}, b: {to: {entry: a}}}\n", "entries.b.to.entry", "another entry"),
    ],
)  # fmt: skip
def test_sections_that_contradict_each_other_are_told(text: str, key: str, said: str) -> None:
    found = problems(text)
    assert [(where, said in message) for _, _, where, message in found] == [(key, True)]


@pytest.mark.parametrize("target", ["{}", "{user: a, refuse: 404}", "{user: null}"])
def test_a_target_is_exactly_one_thing(target: str) -> None:
    found = problems(f"users: {{a: {{secret: {{env: A}}}}}}\nroutes: [{{to: {target}}}]\n")
    assert [(key, message) for _, _, key, message in found] == [
        (
            "routes[0].to",
            "give exactly one of user, group, trunk, entry, room, conference, announcement, webhook or refuse",
        )
    ]


def test_a_duration_of_nothing_is_refused_where_it_makes_no_sense() -> None:
    [(_, _, key, message)] = problems("limits: {ring_duration: 0s}\nmedia: {latching_window: 0s}\n")
    assert (key, message) == ("limits.ring_duration", "must be more than 0, found 0s")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("self", "self"),
        ("'*'", "*"),
        ("HTTPS://WWW.Example.org/", "https://www.example.org"),
        ("https://www.example.org:443", "https://www.example.org"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://*.example.org", "https://*.example.org"),
        ("'https://[2001:db8::1]:8443'", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(written: str, kept: str) -> None:
    assert load_text(f"entries: {{a: {{allowed_origins: [{written}]}}}}\n").config.entries["a"].allowed_origins == (
        kept,
    )


@pytest.mark.parametrize(
    "wrong", ["www.example.org", "https://www.example.org/page", "https://*", "'https://a.*.org'", "7"]
)
def test_what_is_no_origin_is_told_what_is_one(wrong: str) -> None:
    [(_, _, key, message)] = problems(f"entries: {{a: {{allowed_origins: [{wrong}]}}}}\n")
    assert key == "entries.a.allowed_origins[0]"
    assert "https://*.example.org for every name below" in message
    assert "* for every page" in message


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["{}", "[]", "auto"])
)


@given(
    st.sampled_from(sorted(Config.model_fields)),
    st.recursive(
        _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
)
def test_any_value_anywhere_loads_or_is_told(section: str, value: object) -> None:
    text = f"{section}: {json.dumps(value)}\n"
    with suppress(InvalidConfig):
        load_text(text)
        return
    assert all(line >= 1 and message for line, _, _, message in problems(text))
