"""A contact ends once, whoever tells of it and however late."""

from __future__ import annotations

import asyncio

from mediaserver.call.events import EndCause
from mediaserver.contact.contact import Contact
from mediaserver.contact.ending import Ending
from mediaserver.runtime.tasks import TaskGroupOwner


async def test_the_first_cause_counts_also_when_another_comes_after_all_has_stopped() -> None:
    contact = Contact(id="contact", source="192.0.2.1")
    over: list[Contact] = []
    tasks = TaskGroupOwner("contact")
    still_running = tasks.spawn(asyncio.sleep(60), name="connect")
    ending = Ending(contact, on_over=over.append, tasks=tasks)
    ending.begin(EndCause("caller", "hangup"))
    ending.begin(EndCause("system", "drained"))
    await asyncio.wait([still_running])
    ending.begin(EndCause("agent", "hangup"))
    await tasks.join()
    assert over == [contact]
    assert contact.cause == EndCause("caller", "hangup")
    assert still_running.cancelled()
