"""Reload: what changes now, what waits for the next start, and a wrong file that changes nothing."""

from __future__ import annotations

import pytest
import structlog

from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.daemon.live_config import LiveConfig
from mediaserver.runtime.metrics import Metrics

BEFORE = "sites: {munich: {cidrs: [10.1.0.0/16]}}\n"
AFTER = "sites: {munich: {cidrs: [10.1.0.0/16], budget: {audio: 1 Mbit/s}}}\n"


class House:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.applied: list[Config] = []
        self.live = LiveConfig(load_text(BEFORE).config, metrics=self.metrics, apply=self.applied.append)


async def test_new_budgets_are_applied_and_logged_key_by_key() -> None:
    house = House()
    with structlog.testing.capture_logs() as logs:
        await house.live.reload(lambda: load_text(AFTER).config)
    assert [config.sites["munich"].budget.audio for config in house.applied] == [1_000_000]
    assert house.live.in_force is house.applied[0]
    assert logs[0]["change"] == "sites.munich.budget.audio: None -> '1 Mbit/s'"
    assert (logs[-1]["event"], logs[-1]["changed"], logs[-1]["at_restart"]) == ("reloaded", 1, 0)
    assert house.metrics.value("config_reloads_total", result="done") == 1


async def test_a_wrong_file_changes_nothing_and_every_mistake_is_logged() -> None:
    house = House()
    with structlog.testing.capture_logs() as logs:
        assert await house.live.reload(lambda: load_text("sites: {a: {}}\nwib: 1\n", file="c.yaml").config) == ()
    assert house.applied == []
    assert [mistake.split(": ")[0] for mistake in logs[0]["mistakes"]] == ["c.yaml:1:9", "c.yaml:2:1"]
    assert house.metrics.value("config_reloads_total", result="refused") == 1


@pytest.mark.parametrize("text", [BEFORE, BEFORE + "media: {rtp_timeout: 10s}\n"])
async def test_without_a_change_that_takes_effect_now_nothing_is_applied(text: str) -> None:
    house = House()
    with structlog.testing.capture_logs() as logs:
        changes = await house.live.reload(lambda: load_text(text).config)
    assert house.applied == []
    assert [log["takes_effect"] for log in logs if log["event"] == "config_changed"] == ["at restart"] * len(changes)
