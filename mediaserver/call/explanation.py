"""What `mediaserver explain-route` says: every line of the table with its reasons, and what becomes of the number."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mediaserver.call.numbers import NumberPlan
from mediaserver.call.routing import Question, Router, Step
from mediaserver.config.model import Config


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a call would go. `called` and `caller` are as the incoming trunk's rules have written them."""

    called: str | None
    caller: str | None
    steps: tuple[Step, ...]
    goes_to: str | None
    """The target that decides; None is nowhere: 404."""
    rule: str | None
    written: str | None = None
    """The called number as the trunk that it goes to wants it."""
    refused: str | None = None
    """Why that trunk may not call it."""
    then: tuple[str, ...] = ()
    """Where else the call goes if there is no room: targets of later lines."""


def explain(config: Config, question: Question) -> Explanation:
    """Ask the table without placing a call; webhooks are named and not asked."""
    incoming = config.trunks.get(question.trunk or "")
    if incoming is not None:
        plan = NumberPlan(incoming.numbers)
        question = replace(question, called=plan.read(question.called), caller=plan.read(question.caller))
    router = Router(config)
    if question.entry is not None and question.called is None:
        found = router.route_entry(question.entry, question)
    else:
        found = router.route(question)
    written = refused = None
    if found is not None and found.target.trunk is not None and found.number is not None:
        plan = NumberPlan(config.trunks[found.target.trunk].numbers)
        denied = plan.denied(found.number)
        written = plan.called(found.number)
        refused = f"{denied.reason}: {denied.detail}" if denied is not None else None
    return Explanation(
        called=question.called,
        caller=question.caller,
        steps=tuple(router.explain(question)),
        goes_to=found.target.text if found is not None else None,
        rule=found.rule if found is not None else None,
        written=written,
        refused=refused,
        then=tuple(other.target.text for other in found.others) if found is not None else (),
    )
