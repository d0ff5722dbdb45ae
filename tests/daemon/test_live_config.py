"""Reload: what changes now, what waits for the next start, and a wrong file that changes nothing."""

from __future__ import annotations

import pytest
import structlog

from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.daemon.live_config import LiveConfig
from mediaserver.errors import ConfigError
from mediaserver.runtime.metrics import Metrics

BEFORE = "sites: {munich: {cidrs: [10.1.0.0/16]}}\n"
AFTER = "sites: {munich: {cidrs: [10.1.0.0/16], budget: {audio: 1 Mbit/s}}}\n"


class House:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.applied: list[Config] = []
        self.unreadable = ""
        self.live = LiveConfig(load_text(BEFORE).config, metrics=self.metrics, prepare=self.prepare, apply=self.apply)

    def prepare(self, config: Config) -> str:
        if self.unreadable:
            raise ConfigError(self.unreadable)
        return "prepared"

    async def apply(self, config: Config, prepared: str) -> None:
        assert prepared == "prepared"
        self.applied.append(config)


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


async def test_a_secret_that_cannot_be_read_changes_nothing() -> None:
    house = House()
    house.unreadable = "/etc/x cannot be read"
    with structlog.testing.capture_logs() as logs:
        assert await house.live.reload(lambda: load_text(AFTER).config) == ()
    assert (house.applied, logs[0]["mistakes"]) == ([], ["/etc/x cannot be read"])
    assert house.live.in_force.sites["munich"].budget.audio is None


@pytest.mark.parametrize("text", [BEFORE, BEFORE + "media: {rtp_timeout: 10s}\n"])
async def test_without_a_change_that_takes_effect_now_only_secrets_are_read_again(text: str) -> None:
    house = House()
    with structlog.testing.capture_logs() as logs:
        await house.live.reload(lambda: load_text(text).config)
    assert house.applied == [load_text(BEFORE).config]
    assert [log["takes_effect"] for log in logs if log["event"] == "config_changed"] == ["at restart"] * text.count(
        "media"
    )
