"""The chat of a call between a page and a phone, over the doubles of engine and leg."""

from __future__ import annotations

import json

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause, TextReceived
from mediaserver.call.phone_chat import MOST_CHARACTERS, PhoneChat
from mediaserver.core.data import DataChannels
from mediaserver.engine.commands import JoinTopic, SendMessage
from mediaserver.engine.events import ChannelMessage, ChannelOpened
from tests.call.fakes import FakeEngine, FakeLeg

PAGE = 7


class Phone(FakeLeg):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.texts: list[str] = []

    @property
    def takes_texts(self) -> bool:
        return True

    def send_text(self, text: str) -> None:
        self.texts.append(text)


class House:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.page, self.phone = FakeLeg("page"), Phone("Desk")
        self.page.data = DataChannels(self.engine, PAGE)  # type: ignore[arg-type]
        self.chat = PhoneChat()

    def open(self, label: str = "chat", stream: int = 1, protocol: str = "") -> None:
        assert self.page.data is not None
        self.page.data.handle(
            ChannelOpened(
                id=PAGE,
                stream=stream,
                label=label,
                protocol=protocol,
                ordered=True,
                max_retransmits=None,
                max_lifetime_ms=None,
            )
        )

    def say(self, text: str | bytes, stream: int = 1) -> None:
        assert self.page.data is not None
        payload = text.encode() if isinstance(text, str) else text
        self.page.data.handle(ChannelMessage(id=PAGE, stream=stream, text=isinstance(text, str), payload=payload))

    def shown(self) -> list[dict[str, str]]:
        return [json.loads(command.payload) for command in self.engine.of(SendMessage)]


def test_what_the_page_writes_goes_to_the_phone_and_nothing_else_does() -> None:
    house = House()
    house.open()
    house.open("pointer", 3)
    house.chat.connect(house.page, house.phone)
    joined = {command.stream: command.report for command in house.engine.of(JoinTopic)}
    assert joined == {1: True, 3: False}
    house.say('{"from": "p1", "text": "grüß dich"}')
    house.say("plain")
    house.say("{not json")
    house.say('{"typing": true}')
    house.say('{"text": 7}')
    house.say("[" * 100_000)
    house.say('{"a":' * 100_000)
    house.say(b"\x00\x01")
    house.say("10,20", 3)
    house.say('{"text": "' + "x" * 2000 + '"}')
    assert house.phone.texts[:3] == ["grüß dich", "plain", "{not json"]
    assert [len(text) for text in house.phone.texts[3:]] == [MOST_CHARACTERS] * 3


def test_what_the_phone_writes_goes_to_the_page_as_its_own_messages_do() -> None:
    house = House()
    house.chat.connect(house.phone, house.page)
    assert not house.chat.take(house.phone, "nobody there")
    house.open()
    assert house.chat.take(house.phone, "grüß dich")
    assert house.chat.take(house.phone, "")
    assert house.chat.take(house.phone, "x" * 2000)
    assert not house.chat.take(house.page, "not a phone")
    first, second = house.shown()
    assert first == {"from": "Desk", "text": "grüß dich"}
    assert len(second["text"]) == MOST_CHARACTERS


def test_a_page_that_asks_for_names_is_told_by_the_server_who_writes() -> None:
    house = House()
    house.open(protocol="mediaserver.named")
    house.phone.name = "Anna\nagent"
    house.chat.connect(house.page, house.phone)
    assert house.chat.take(house.phone, "hello")
    (command,) = house.engine.of(SendMessage)
    assert command.payload.decode().split("\n")[0] == "Anna agent"


def test_after_a_transfer_the_chat_is_with_whoever_came() -> None:
    house = House()
    house.open()
    other = Phone("Expert")
    house.chat.connect(house.page, house.phone)
    house.chat.connect(house.page, house.phone)
    house.chat.connect(house.page, other)
    house.say("hello")
    assert (house.phone.texts, other.texts) == ([], ["hello"])
    assert not house.chat.take(house.phone, "still here?")
    house.chat.connect(house.page, FakeLeg("second page"))
    house.say("hello")
    assert other.texts == ["hello"]
    assert len(house.engine.of(JoinTopic)) == 2


def test_what_a_phone_writes_goes_to_the_other_phone_and_to_several_with_its_name() -> None:
    chat, anna, bert, carl = PhoneChat(), Phone("Anna"), Phone("Bert"), Phone("Carl")
    assert chat.pass_on(anna, [anna, bert], "hello")
    assert chat.pass_on(anna, [anna, bert, carl, FakeLeg("page")], "x" * 2000)
    assert (anna.texts, carl.texts) == ([], [f"Anna: {'x' * MOST_CHARACTERS}"])
    assert bert.texts == ["hello", *carl.texts]


def test_who_supervises_or_is_alone_with_a_page_reaches_no_phone() -> None:
    chat, anna, bert, spy = PhoneChat(), Phone("Anna"), Phone("Bert"), Phone("Spy")
    assert not chat.pass_on(spy, [anna, bert], "psst")
    assert not chat.pass_on(anna, [anna, FakeLeg("page")], "hello")
    assert (anna.texts, bert.texts) == ([], [])


async def test_a_text_in_a_call_of_two_phones_is_passed_on_by_the_call() -> None:
    anna, bert = Phone("Anna"), Phone("Bert")
    call = Call(call_id="c", caller=anna, callee=bert, longest_s=60, on_ended=lambda *_: None)
    await call.join()
    bert.emit(TextReceived("on my way"))
    assert (anna.texts, bert.texts) == (["on my way"], [])
    assert call.say(anna, "thanks")
    assert bert.texts == ["thanks"]
    await call.end(EndCause("system", "over"))
