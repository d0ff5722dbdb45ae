"""Who is heard and who is the active speaker, on a clock of the test's own."""

from __future__ import annotations

from mediaserver.core.speakers import HOLD_S, OUTSPEAK_S, SWITCH_AFTER_S, Speakers


def crowd(places: int, *names: str) -> Speakers:
    speakers = Speakers(places)
    for name in names:
        speakers.add(name)
    return speakers


def let_pass(speakers: Speakers, until: float) -> None:
    """Lets every timer up to a moment run when it is due."""
    while (due := speakers.poll_timeout()) is not None and due <= until:
        speakers.handle_timeout(due)


def test_the_first_who_speaks_is_active_at_once() -> None:
    speakers = crowd(2, "a", "b")
    assert speakers.active is None
    speakers.hear("b", 3, 10.0)
    assert (speakers.active, speakers.speaking, speakers.recent) == ("b", ("b",), ("b",))


def test_a_cough_does_not_take_the_floor_from_who_speaks_nor_from_who_pauses() -> None:
    speakers = crowd(2, "a", "b")
    speakers.hear("a", 3, 0.0)
    speakers.hear("b", 4, 5.0)
    speakers.hear("b", 0, 5.3)
    let_pass(speakers, 20.0)
    assert speakers.active == "a"
    speakers.hear("a", 0, 20.0)
    speakers.hear("b", 4, 21.0)
    speakers.hear("b", 0, 21.0 + SWITCH_AFTER_S / 2)
    let_pass(speakers, 30.0)
    assert speakers.active == "a", "the last speaker stays through silence"


def test_who_goes_on_after_the_speaker_ended_is_active_soon() -> None:
    speakers = crowd(2, "a", "b")
    speakers.hear("a", 3, 0.0)
    speakers.hear("a", 0, 10.0)
    speakers.hear("b", 1, 10.1)
    assert speakers.poll_timeout() == 10.1 + SWITCH_AFTER_S
    let_pass(speakers, 10.1 + SWITCH_AFTER_S)
    assert (speakers.active, speakers.recent) == ("b", ("b", "a"))


def test_two_who_talk_at_once_do_not_swap_all_the_time() -> None:
    speakers = crowd(2, "a", "b")
    speakers.hear("a", 3, 0.0)
    changes = 0
    for step in range(200):
        before = speakers.active
        at = 1.0 + step * 0.25
        speakers.hear("a", 2 + step % 2, at)
        speakers.hear("b", 3 - step % 2, at)
        let_pass(speakers, at)
        changes += speakers.active != before
    assert changes == 0


def test_somebody_clearly_louder_takes_over_in_the_end_and_not_before_the_hold() -> None:
    speakers = crowd(2, "a", "b")
    speakers.hear("a", 1, 0.0)
    speakers.hear("b", 3, 0.1)
    assert speakers.poll_timeout() == max(0.1 + OUTSPEAK_S, HOLD_S)
    let_pass(speakers, HOLD_S)
    assert speakers.active == "b"


def test_those_who_are_heard_stay_until_somebody_needs_the_place() -> None:
    speakers = crowd(1, "a", "b", "c", "d")
    assert set(speakers.heard) == {"a", "b"}, "one more than there are places"
    speakers.hear("a", 2, 0.0)
    speakers.hear("a", 0, 1.0)
    speakers.hear("c", 2, 2.0)
    assert set(speakers.heard) == {"a", "c"}, "b has never said a word"
    speakers.hear("d", 2, 3.0)
    assert set(speakers.heard) == {"d", "c"}


def test_beyond_the_places_only_a_clearly_louder_voice_gets_in_and_a_silence_lets_the_first_one_in() -> None:
    speakers = crowd(1, "a", "b", "c", "d")
    for name in ("a", "b", "c", "d"):
        speakers.hear(name, 2, 1.0)
    speakers.hear("c", 3, 2.0)
    assert set(speakers.heard) == {"a", "b"}
    speakers.hear("c", 4, 3.0)
    assert len({"a", "b"} & set(speakers.heard)) == 1
    assert "c" in speakers.heard
    rest = next(iter({"a", "b"} & set(speakers.heard)))
    speakers.hear(rest, 0, 4.0)
    assert len(speakers.heard) == 2
    assert rest not in speakers.heard, "who speaks unheard gets the place of who fell silent"


def test_whoever_leaves_makes_room_and_the_one_before_is_active_again() -> None:
    speakers = crowd(1, "a", "b", "c")
    speakers.hear("a", 2, 0.0)
    speakers.hear("a", 0, 3.0)
    speakers.hear("b", 2, 4.0)
    let_pass(speakers, 6.0)
    assert speakers.active == "b"
    speakers.remove("b", 7.0)
    assert (speakers.active, set(speakers.heard), speakers.recent) == ("a", {"a", "c"}, ("a",))
    speakers.remove("nobody", 8.0)
    speakers.hear("nobody", 5, 8.0)
    assert speakers.active == "a"


def test_a_hundred_voices_that_all_shout_are_one_set_of_places() -> None:
    names = [f"p{number}" for number in range(100)]
    speakers = crowd(4, *names)
    for round_ in range(20):
        for name in names:
            speakers.hear(name, 5 - round_ % 2, round_ + 0.001)
    assert len(speakers.heard) == 5
    assert len(speakers.speaking) == 5
