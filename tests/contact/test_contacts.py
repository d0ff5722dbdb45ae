"""How contacts of browsers begin: what the configuration's limits refuse, and what an entry's codecs come down to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Agents
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.signaling import AttributesRefused
from mediaserver.call.webhook import Webhooks
from mediaserver.config.loader import load_text
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.contact.contacts import Contacts
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import Fingerprint
from mediaserver.webrtc import messages
from tests.call.fakes import FakeEngine, FakeSignaling

OFFER = (Path(__file__).parents[1] / "data/sdp/chromium_sendrecv.sdp").read_text()
CONFIG = """
users: {agent: {secret: {env: AGENT}}}
media: {audio_codecs: [PCMU, opus], video_codecs: [H264]}
limits: {attributes: 1, attribute_size: 8 B}
entries: {demo: {to: {user: agent}, audio_codecs: [opus, G722, PCMU]}}
"""


def make_contacts(metrics: Metrics) -> Contacts:
    config = load_text(CONFIG).config
    nothing: Any = None
    return Contacts(
        config=config,
        engine=FakeEngine(),  # type: ignore[arg-type]
        fingerprint=Fingerprint("sha-256", bytes(32)),
        calls=nothing,
        agents=Agents(),
        dial_plan=DialPlan(config, webhooks=Webhooks(config, secret_of=lambda *_: None, metrics=metrics)),
        announcements=nothing,
        records=nothing,
        metrics=metrics,
        server_name="ms",
        attribute_limits=AttributeLimits(config.limits.attributes, config.limits.attribute_size),
        admission=Admission(config, metrics=metrics),
    )


async def start(contacts: Contacts, attributes: dict[str, str]) -> Any:
    return await contacts.start_caller(
        entry="demo",
        signaling=FakeSignaling(),
        source="192.0.2.1",
        page=None,
        attributes=attributes,
        identity=None,
    )


@pytest.mark.parametrize(
    ("attributes", "limit"),
    [({"a": "1", "b": "2"}, "limits.attributes"), ({"topic": "1234"}, "limits.attribute_size")],
)
async def test_a_page_that_says_more_than_the_limits_begins_no_contact(attributes: dict[str, str], limit: str) -> None:
    metrics = Metrics()
    contacts = make_contacts(metrics)
    with pytest.raises(AttributesRefused):
        await start(contacts, attributes)
    assert len(contacts) == 0
    assert metrics.value("contacts_refused_total", limit=limit) == 1


async def test_an_entry_offers_no_codec_that_the_daemon_does_not_accept() -> None:
    contacts = make_contacts(Metrics())
    session = await start(contacts, {"topic": "123"})
    await session._leg.handle(messages.Offer(id=1, sdp=OFFER))
    codecs = {kind: {codec.name for codec in found} for kind, found in session._leg.codecs.items()}
    assert codecs == {"audio": {"opus", "PCMU"}, "video": {"H264"}}
