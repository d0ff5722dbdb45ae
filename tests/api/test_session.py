"""The WebSocket session: who gets in, what is said, what survives a lost socket."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from mediaserver.api.session import SessionLimits
from mediaserver.errors import RemoteProtocolError
from mediaserver.webrtc.messages import Answer, Ended, State
from tests.api.fakes import ALLOWED, SITE_SECRET, closing, receive


def site_token(clock, *, secret=SITE_SECRET, kid="portal", **claims):
    body = {"sub": "K-4711", "aud": "mediaserver", "iat": int(clock()), "exp": int(clock()) + 300, **claims}
    body = {name: value for name, value in body.items() if value is not None}
    return jwt.encode({"alg": "HS256", "kid": kid}, body, OctKey.import_key(secret))


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_caller_is_welcomed_with_contact_and_title(stack):
    _, welcome = await stack.call(page={"url": "https://www.example.org/sick-pay", "title": "Sick pay"})
    assert welcome["type"] == "welcome"
    assert welcome["contact_id"] == "contact-1"
    assert welcome["title"] == "Talk to us"
    assert welcome["media"] == {"audio": True, "video": True}
    assert stack.contacts.started[0]["page"].url == "https://www.example.org/sick-pay"
    assert stack.contacts.started[0]["source"] == "127.0.0.1"


async def test_page_attributes_stay_apart_from_the_tokens(stack):
    token = site_token(stack.clock, name="Erika", attributes={"tariff": "gold"})
    await stack.call(token=token, attributes={"tariff": "platinum"})
    begun = stack.contacts.started[0]
    assert begun["attributes"] == {"tariff": "platinum"}
    assert begun["identity"].reference == "K-4711"
    assert begun["identity"].attributes == {"tariff": "gold"}
    assert begun["identity"].issuer == "portal"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"exp": 1_799_999_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": 1_800_086_400}, "too long"),
        ({"iat": None, "exp": 1_800_086_400}, "too long"),
        ({"aud": "somebody"}, "aud"),
        ({"aud": None}, "aud"),
        ({"sub": ""}, "sub"),
        ({"nbf": 1_800_000_200}, "nbf"),
        ({"attributes": {"a": 1}}, "attributes"),
        ({"attributes": {"a": "x" * 1024}}, "1024"),
        ({"attributes": {f"a{n}": "" for n in range(33)}}, "at most 32"),
        ({"secret": b"x" * 32}, "signature"),
        ({"kid": "unknown"}, "signature"),
    ],
)
async def test_a_bad_site_token_is_refused_and_not_taken_for_anonymous(stack, change, word):
    socket = await stack.connect()
    await socket.send_json(
        {"type": "hello", "version": 1, "role": "caller", "entry": "demo", "token": site_token(stack.clock, **change)}
    )
    error, code = await closing(socket)
    assert error["code"] == "token"
    assert word in error["message"]
    assert code == 1008
    assert stack.contacts.started == []


async def test_a_single_use_token_works_once(stack):
    token = site_token(stack.clock, secret=SITE_SECRET[::-1], kid="once", jti="abc")
    _, welcome = await stack.call(token=token)
    assert welcome["type"] == "welcome"
    _, again = await stack.call(token=token)
    assert again["code"] == "token"
    _, without = await stack.call(token=site_token(stack.clock, secret=SITE_SECRET[::-1], kid="once"))
    assert "jti" in without["message"]


async def test_alg_none_is_no_signature(stack):
    head = "eyJhbGciOiJub25lIn0"
    body = site_token(stack.clock).split(".")[1]
    _, error = await stack.call(token=f"{head}.{body}.")
    assert error["code"] == "token"


async def test_a_foreign_origin_is_refused_at_the_upgrade(stack):
    del stack.entries["open"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await stack.connect(origin="https://evil.example")
    assert refused.value.status == 403
    assert stack.metrics.value("web_sessions_refused_total", reason="origin") == 1


@pytest.mark.parametrize(
    ("origin", "entry", "code"),
    [
        (ALLOWED, "demo", None),
        ("https://a.b.shop.example", "demo", None),
        ("https://shop.example.evil.example", "open", None),
        ("https://shop.example.evil.example", "demo", "origin"),
        ("http://www.example.org", "demo", "origin"),
        ("null", "demo", "origin"),
        (None, "demo", "origin"),
        (None, "open", None),
        (ALLOWED, "app", "origin"),
    ],
)
async def test_each_entry_has_its_origins(stack, origin, entry, code):
    socket = await stack.connect(origin=origin)
    await socket.send_json({"type": "hello", "version": 1, "role": "caller", "entry": entry})
    answer = await receive(socket)
    assert answer.get("code") == code


async def test_pages_served_from_here_may_use_entries_that_say_self(stack):
    socket = await stack.connect(origin=stack.origin)
    await socket.send_json({"type": "hello", "version": 1, "role": "caller", "entry": "demo"})
    assert (await receive(socket))["type"] == "welcome"


async def test_an_app_without_origin_needs_a_token(stack):
    socket = await stack.connect(origin=None)
    hello = {"type": "hello", "version": 1, "role": "caller", "entry": "app", "token": site_token(stack.clock)}
    await socket.send_json(hello)
    assert (await receive(socket))["type"] == "welcome"


async def test_an_entry_that_is_not_in_the_configuration_leads_nowhere(stack):
    _, error = await stack.call(entry="+49891234")
    assert error["code"] == "entry"
    assert stack.contacts.started == []


@pytest.mark.parametrize(
    "first",
    [
        "hello",
        "[1]",
        '{"type":"offer","id":1,"sdp":"v=0"}',
        '{"type":"hello","version":2,"role":"caller"}',
        "[" * 50000,
    ],
)
async def test_the_first_message_must_be_hello(stack, first):
    socket = await stack.connect()
    await socket.send_str(first)
    error, code = await closing(socket)
    assert (error["code"], code) == ("bad_hello", 1008)


async def test_a_silent_socket_is_closed(stacks):
    stack = await stacks(session=SessionLimits(hello_timeout_s=0.05))
    error, _ = await closing(await stack.connect())
    assert error["code"] == "hello_timeout"


async def test_messages_sent_while_starting_follow_the_welcome(stack):
    async def on_start(caller):
        await caller.signaling.send(State(state="queued"))

    stack.contacts.on_start = on_start
    socket, welcome = await stack.call()
    assert "seq" not in welcome
    state = await receive(socket)
    assert (state["type"], state["seq"]) == ("state", 1)


async def test_messages_reach_the_leg_in_order_and_answers_come_back(stack):
    async def answer(caller, message):
        if message.type == "offer":
            await caller.signaling.send(Answer(id=message.id, sdp="v=0\r\n"))

    stack.contacts.on_message = answer
    socket, _ = await stack.call()
    await socket.send_json({"type": "offer", "id": 5, "sdp": "v=0", "seq": 1})
    await socket.send_json({"type": "mute", "audio": True, "video": False, "seq": 2})
    reply = await receive(socket)
    assert (reply["type"], reply["id"]) == ("answer", 5)
    await until(lambda: len(stack.contacts.callers[0].messages) == 2)
    assert [message.type for message in stack.contacts.callers[0].messages] == ["offer", "mute"]


async def test_what_the_leg_refuses_is_answered_with_an_error_that_names_it(stack):
    async def refuse(caller, message):
        raise RemoteProtocolError("line 3: no media")

    stack.contacts.on_message = refuse
    socket, _ = await stack.call()
    await socket.send_json({"type": "offer", "id": 7, "sdp": "v=0"})
    error = await receive(socket)
    assert (error["code"], error["ref"], error["message"]) == ("bad_offer", "7", "line 3: no media")


async def test_a_mistake_of_ours_is_not_told_in_detail(stack):
    async def crash(caller, message):
        raise KeyError("internal name")

    stack.contacts.on_message = crash
    socket, _ = await stack.call()
    await socket.send_json({"type": "hangup"})
    error = await receive(socket)
    assert error["code"] == "internal"
    assert "internal name" not in error["message"]


async def test_a_message_that_is_not_understood_is_named_and_the_session_goes_on(stack):
    socket, _ = await stack.call()
    await socket.send_json({"type": "mute", "audio": "yes", "video": False})
    error = await receive(socket)
    assert error["code"] == "bad_message"
    assert "audio" in error["message"]
    await socket.send_json({"type": "ping"})
    assert (await receive(socket))["type"] == "pong"


async def test_a_lost_socket_is_resumed_without_loss_or_repetition(stack):
    socket, welcome = await stack.call()
    caller = stack.contacts.callers[0]
    await caller.signaling.send(State(state="queued"))
    assert (await receive(socket))["seq"] == 1
    await socket.send_json({"type": "mute", "audio": True, "video": False, "seq": 1, "ack": 1})
    await until(lambda: len(caller.messages) == 1)
    socket._response.close()
    await caller.signaling.send(State(state="ringing"))
    await caller.signaling.send(State(state="connected"))

    second = await stack.connect(query="?resume")
    hello = {"type": "hello", "version": 1, "role": "caller", "resume": welcome["resume"], "ack": 1}
    await second.send_json(hello)
    again = await receive(second)
    assert (again["type"], again["session"], again["ack"]) == ("welcome", welcome["session"], 1)
    assert again["resume"] != welcome["resume"]
    assert [(await receive(second))[key] for key in ("seq",) * 2] == [2, 3]
    # The browser cannot know whether its last message had arrived and sends it again.
    await second.send_json({"type": "mute", "audio": True, "video": False, "seq": 1})
    await second.send_json({"type": "dtmf", "digits": "1", "seq": 2})
    await until(lambda: len(caller.messages) == 2)
    assert [message.type for message in caller.messages] == ["mute", "dtmf"]
    assert caller.gone_reasons == []
    assert stack.metrics.value("web_sessions_resumed_total") == 1


async def test_a_page_is_told_where_else_its_session_is_and_resumes_there_from_its_own_origin(stack):
    stack.servers.set(["https://edge1.example.org"])
    _, welcome = await stack.call()
    assert welcome["servers"] == ["https://edge1.example.org"]
    hello = {"type": "hello", "version": 1, "role": "caller", "resume": welcome["resume"], "ack": 0}
    # By another name the page's origin is a foreign one: what counts is the token.
    second = await stack.connect(origin="https://video.example.org", query="?resume")
    await second.send_json(hello)
    assert (await receive(second))["servers"] == ["https://edge1.example.org"]
    stack.servers.set(["https://edge2.example.org"])
    told = await receive(second)
    assert (told["type"], told["servers"]) == ("servers", ["https://edge2.example.org"])


async def test_a_session_whose_edge_is_left_is_closed_to_go_on_elsewhere(stack):
    socket, _ = await stack.call()
    (channel,) = stack.sessions._channels
    channel.link = 5
    # Without another name to go to nobody is sent away.
    stack.servers.leave(5)
    stack.servers.set(["https://edge1.example.org"])
    assert (await receive(socket))["type"] == "servers"
    stack.servers.leave(4)
    stack.servers.leave(5)
    message = await socket.receive(timeout=30)
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4002)
    assert not channel.closed


async def test_who_says_resume_and_has_no_token_begins_nothing_from_a_foreign_origin(stack):
    socket = await stack.connect(origin="https://evil.example", query="?resume")
    await socket.send_json({"type": "hello", "version": 1, "role": "caller", "entry": "demo"})
    assert (await closing(socket))[0]["code"] == "origin"
    assert stack.contacts.callers == []


async def test_a_resume_token_works_once(stack):
    _, welcome = await stack.call()
    hello = {"type": "hello", "version": 1, "role": "caller", "resume": welcome["resume"], "ack": 0}
    second = await stack.connect()
    await second.send_json(hello)
    assert (await receive(second))["type"] == "welcome"
    await second.send_json({"type": "ping"})
    assert (await receive(second))["type"] == "pong"
    third = await stack.connect()
    await third.send_json(hello)
    assert (await closing(third))[0]["code"] == "resume"


async def test_the_socket_before_a_resume_is_closed(stack):
    first, welcome = await stack.call()
    second = await stack.connect()
    await second.send_json({"type": "hello", "version": 1, "role": "caller", "resume": welcome["resume"], "ack": 0})
    assert (await receive(second))["type"] == "welcome"
    message = await first.receive(timeout=30)
    assert message.type is aiohttp.WSMsgType.CLOSE
    assert first.close_code == 4001


async def test_a_browser_that_stays_away_is_gone(stacks):
    stack = await stacks(session=SessionLimits(resume_window_s=0.05))
    socket, welcome = await stack.call()
    socket._response.close()
    caller = stack.contacts.callers[0]
    await until(lambda: caller.gone_reasons)
    assert caller.gone_reasons == ["browser_lost"]
    assert stack.sessions.count == 0
    late = await stack.connect()
    await late.send_json({"type": "hello", "version": 1, "role": "caller", "resume": welcome["resume"], "ack": 0})
    assert (await closing(late))[0]["code"] == "resume"


async def test_a_page_that_is_closed_is_gone_at_once_and_its_last_words_are_heard(stack):
    socket, _ = await stack.call()
    await socket.send_json({"type": "hangup"})
    await socket.close(code=1000)
    caller = stack.contacts.callers[0]
    await until(lambda: caller.gone_reasons)
    assert [message.type for message in caller.messages] == ["hangup"]


async def test_messages_for_a_browser_that_is_away_are_bounded(stacks):
    stack = await stacks(session=SessionLimits(kept_messages=5))
    socket, _ = await stack.call()
    socket._response.close()
    await until(lambda: next(iter(stack.sessions._channels))._socket is None)
    caller = stack.contacts.callers[0]
    for _ in range(6):
        await caller.signaling.send(State(state="queued"))
    await until(lambda: caller.gone_reasons)
    assert caller.gone_reasons == ["browser_too_slow"]


async def test_a_missing_message_ends_the_socket_so_that_the_browser_resumes(stack):
    socket, _ = await stack.call()
    await socket.send_json({"type": "hangup", "seq": 3})
    error, code = await closing(socket)
    assert (error["code"], code) == ("lost", 1013)
    assert stack.contacts.callers[0].messages == []


async def test_ended_is_the_last_thing_that_a_caller_hears(stack):
    socket, _ = await stack.call()
    caller = stack.contacts.callers[0]
    await caller.signaling.send(Ended(by="agent", reason="hangup"))
    await caller.signaling.send(State(state="queued"))
    message, code = await closing(socket)
    assert (message["type"], code) == ("ended", 1000)
    await until(lambda: stack.sessions.count == 0)
    assert caller.gone_reasons == []


async def test_a_flood_ends_the_session(stacks):
    stack = await stacks(session=SessionLimits(messages_per_second=1, message_burst=5))
    socket, _ = await stack.call()
    for _ in range(6):
        await socket.send_json({"type": "mute", "audio": True, "video": False})
    error, code = await closing(socket)
    assert (error["code"], code) == ("limit", 1008)
    await until(lambda: stack.contacts.callers[0].gone_reasons)


async def test_an_oversize_message_closes_the_socket(stacks):
    stack = await stacks(session=SessionLimits(max_message_bytes=1000))
    socket, _ = await stack.call()
    await socket.send_str("x" * 2000)
    message = await socket.receive(timeout=30)
    assert message.type is aiohttp.WSMsgType.CLOSE
    assert socket.close_code == 1009


async def test_sessions_are_limited_by_source(stacks):
    stack = await stacks(session=SessionLimits(sessions_per_source=1))
    first, _ = await stack.call()
    _, refused = await stack.call()
    assert refused["code"] == "limit"
    await first.close(code=1000)
    await until(lambda: stack.sessions.count == 0)
    _, welcome = await stack.call()
    assert welcome["type"] == "welcome"


async def test_sockets_are_limited_by_source(stacks):
    stack = await stacks(session=SessionLimits(sockets_per_source=1))
    await stack.connect()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await stack.connect()
    assert refused.value.status == 429
    assert refused.value.headers["Retry-After"] == "10"


async def test_the_rate_of_new_sessions_is_limited(stacks):
    limits = SessionLimits(session_burst_per_source=1, sessions_per_second_per_source=0.01)
    stack = await stacks(session=limits)
    await stack.call()
    _, refused = await stack.call()
    assert refused["code"] == "limit"


async def test_a_full_house_is_said_so(stack):
    stack.contacts.full = True
    _, refused = await stack.call()
    assert (refused["code"], refused["message"]) == ("limit", "All lines are busy.")
    assert stack.sessions.count == 0


async def test_draining_refuses_new_sessions_and_keeps_old_ones(stack):
    socket, welcome = await stack.call()
    stack.admission.drain()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await stack.connect()
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"] == "7"
    socket._response.close()
    second = await stack.connect(query="?resume")
    await second.send_json({"type": "hello", "version": 1, "role": "caller", "resume": welcome["resume"], "ack": 0})
    assert (await receive(second))["type"] == "welcome"
    third = await stack.connect(query="?resume")
    await third.send_json({"type": "hello", "version": 1, "role": "caller", "entry": "demo"})
    error, code = await closing(third)
    assert (error["code"], code) == ("draining", 1013)


async def test_plain_http_is_told_to_upgrade(stack):
    async with stack.http.get("/v1/session") as response:
        assert response.status == 426
        assert (await response.json())["type"].endswith("upgrade-required")


async def test_an_agent_signs_in_and_a_second_place_replaces_the_first(stack):
    form = {"user": "anna", "password": "correct horse"}
    async with stack.http.post("/v1/agents/sign-in", json=form) as response:
        token = (await response.json())["token"]
    hello = {"type": "hello", "version": 1, "role": "agent", "token": token}
    first = await stack.connect(origin=stack.origin)
    await first.send_json(hello)
    assert (await receive(first))["title"] == "Anna Agent"
    before = stack.contacts.agents["anna"]
    second = await stack.connect(origin=stack.origin)
    await second.send_json(hello)
    assert (await receive(second))["type"] == "welcome"
    assert (await receive(first))["code"] == "replaced"
    assert before.gone_reasons == ["signed_in_elsewhere"]
    assert stack.contacts.agents["anna"] is not before
    assert stack.sessions.count == 1


async def test_an_agents_session_outlives_a_call(stack):
    token = stack.tokens.mint_agent("anna", lifetime_s=60)
    socket = await stack.connect(origin=stack.origin)
    await socket.send_json({"type": "hello", "version": 1, "role": "agent", "token": token})
    await receive(socket)
    await stack.contacts.agents["anna"].signaling.send(Ended(by="caller", reason="hangup"))
    assert (await receive(socket))["type"] == "ended"
    await socket.send_json({"type": "ping"})
    assert (await receive(socket))["type"] == "pong"


@pytest.mark.parametrize("origin", [ALLOWED, "https://a.shop.example"])
async def test_agents_do_not_sign_in_from_customers_pages(stack, origin):
    socket = await stack.connect(origin=origin)
    token = stack.tokens.mint_agent("anna", lifetime_s=60)
    await socket.send_json({"type": "hello", "version": 1, "role": "agent", "token": token})
    assert (await closing(socket))[0]["code"] == "origin"


async def test_tokens_of_other_purposes_make_no_agent(stack):
    room = stack.tokens.mint_room(room="r", directions=["view"], subject="anna", lifetime_s=60)
    stranger = stack.tokens.mint_agent("nobody", lifetime_s=60)
    old = stack.tokens.mint_agent("anna", lifetime_s=60)
    stack.clock.wall += 61
    for token in (room, stranger, old, None):
        socket = await stack.connect(origin=None)
        await socket.send_json({"type": "hello", "version": 1, "role": "agent", "token": token})
        assert (await closing(socket))[0]["code"] == "token"


async def test_a_link_leads_into_a_call_without_sound(stack):
    _, welcome = await stack.call(link="good")
    assert (welcome["contact_id"], welcome["media"]) == ("contact-1", {"audio": False, "video": True})
    _, error = await stack.call(link="used")
    assert error["code"] == "link"
    assert stack.contacts.started == []
