"""The E-model against what ITU-T publishes of it."""

from __future__ import annotations

import pytest

from mediaserver.call.e_model import Line, mos, rating, voice_mos


def test_all_defaults_give_the_rating_of_the_standard() -> None:
    # ITU-T G.107 (06/2015) §7.1: "the calculation results in R = 93.2".
    assert rating(Line()) == pytest.approx(93.2, abs=0.05)


@pytest.mark.parametrize(("r", "score"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)])
def test_scores_are_those_of_annex_b(r: float, score: float) -> None:
    assert mos(r) == pytest.approx(score, abs=0.011)  # table B.1 has two digits


@pytest.mark.parametrize(("r", "score"), [(-5, 1.0), (0, 1.0), (3, 1.0), (100, 4.5), (140, 4.5)])
def test_scores_end_at_1_and_at_4_5(r: float, score: float) -> None:
    assert mos(r) == score


def test_scores_never_fall_when_the_rating_rises() -> None:
    scores = [mos(r / 10) for r in range(1001)]
    assert scores == sorted(scores)


@pytest.mark.parametrize(
    ("ie", "bpl", "ppl", "burst_r", "impairment"),
    [
        (11.0, 19.0, 0.0, 1.0, 11.0),  # G.729A with VAD, G.113 table I.2: its own impairment without loss
        (0.0, 4.3, 1.0, 1.0, 95 / 5.3),
        (0.0, 25.1, 5.0, 1.0, 475 / 30.1),
        (0.0, 25.1, 5.0, 2.0, 475 / 27.6),
    ],
)
def test_loss_costs_what_the_formula_of_7_5_says(
    ie: float, bpl: float, ppl: float, burst_r: float, impairment: float
) -> None:
    line = Line(ie=ie, bpl=bpl, ppl=ppl, burst_r=burst_r)
    assert rating(Line()) - rating(line) == pytest.approx(impairment)


@pytest.mark.parametrize(("ta", "impairment"), [(100, 0.0), (150, 0.0), (200, 3.1), (300, 14.6), (400, 24.0)])
def test_delay_costs_nothing_up_to_100_ms_and_much_beyond_200(ta: float, impairment: float) -> None:
    # The curve of §7.4 (Idd); with X = log2(Ta/100) its values at whole X follow by hand: 3.1 at 200 ms, 24 at 400 ms.
    assert rating(Line()) - rating(Line(ta=ta)) == pytest.approx(impairment, abs=0.3)


def test_echo_counts_only_with_delay() -> None:
    assert rating(Line(telr=40)) == pytest.approx(rating(Line()), abs=0.1)
    assert rating(Line(telr=40, t=100)) < rating(Line(telr=65, t=100)) - 20


def test_a_call_is_as_good_as_its_line() -> None:
    clean = voice_mos("opus", delay_ms=30, loss=0)
    assert clean > 4.3
    assert voice_mos("PCMU", delay_ms=30, loss=0.05) < 4.0 < clean
    assert voice_mos("PCMU", delay_ms=400, loss=0) < 3.5
    assert voice_mos("g729", delay_ms=30, loss=0.05) < voice_mos("PCMU", delay_ms=30, loss=0.05)
    assert voice_mos("PCMU", delay_ms=30, loss=7, burst_ratio=0) == voice_mos("PCMU", delay_ms=30, loss=1)
