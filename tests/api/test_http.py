"""What holds for every request, and the small resources: sign-in, entries, health, metrics, records, pages."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl

import aiohttp
import pytest
import trustme

from mediaserver.api.app import Bind, Listeners, make_app
from mediaserver.api.auth import TokenRefused
from mediaserver.api.context import Admission
from mediaserver.api.health import HealthResource
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.source import SourceResolver
from mediaserver.runtime.metrics import Metrics
from mediaserver.store.records import StoreError
from tests.api.fakes import ADMIN_TOKEN, ALLOWED

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def test_an_error_is_a_problem_document(stack):
    async with stack.http.get("/nothing") as response:
        assert response.status == 404
        assert response.headers["Content-Type"].startswith("application/problem+json")
        body = await response.json()
    assert body == {
        "type": "urn:mediaserver:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing at /nothing.",
    }


async def test_every_response_carries_security_headers(stack):
    for path in ("/healthz", "/nothing", "/", "/v1/entries/demo"):
        async with stack.http.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
            assert "unsafe" not in response.headers["Content-Security-Policy"]
            assert "Permissions-Policy" in response.headers


async def test_a_mistake_of_ours_is_a_500_without_detail(stack):
    async def fail(**_):
        raise KeyError("internal name")

    stack.records.list = fail
    async with stack.admin_http.get("/v1/records", headers=ADMIN) as response:
        assert response.status == 500
        assert "internal name" not in await response.text()


async def test_the_rate_of_one_source_is_limited(stacks):
    stack = await stacks(requests_per_second_per_source=0.1, request_burst_per_source=2)
    statuses = []
    for _ in range(3):
        async with stack.http.get("/healthz") as response:
            statuses.append(response.status)
    assert statuses == [200, 200, 429]
    assert response.headers["Retry-After"] == "10"


async def test_connections_are_limited(stacks):
    stack = await stacks(connections=1)
    host, port = stack.public.addresses[0]
    _, first = await asyncio.open_connection(host, port)
    async with asyncio.timeout(30):
        while not stack.public._runner.server.connections:
            await asyncio.sleep(0.005)
    reader, second = await asyncio.open_connection(host, port)
    async with asyncio.timeout(30):
        assert (await reader.read()).startswith(b"HTTP/1.1 503")
    first.close()
    second.close()
    assert stack.metrics.value("http_connections_refused_total") == 1


async def test_a_connection_that_sends_no_whole_request_is_closed(stacks):
    stack = await stacks(idle_s=0.1)
    reader, writer = await asyncio.open_connection(*stack.public.addresses[0])
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_oversize_headers_are_refused(stack):
    reader, writer = await asyncio.open_connection(*stack.public.addresses[0])
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Big: " + b"x" * 20_000 + b"\r\n\r\n")
    async with asyncio.timeout(30):
        assert (await reader.readline()).split()[1] == b"400"
    writer.close()


async def test_a_good_sign_in_gives_a_token_for_the_session(stack):
    form = {"user": "anna", "password": "correct horse"}
    async with stack.http.post("/v1/agents/sign-in", json=form) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        body = await response.json()
    assert (body["user"], body["name"]) == ("anna", "Anna Agent")
    assert stack.tokens.verify_agent(body["token"]).user == "anna"


async def test_unknown_users_and_wrong_passwords_get_the_same_answer(stack):
    answers = []
    for form in ({"user": "anna", "password": "wrong"}, {"user": "nobody", "password": "correct horse"}):
        async with stack.http.post("/v1/agents/sign-in", json=form) as response:
            answers.append((response.status, await response.text()))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401


async def test_guessing_is_slowed_down_and_good_sign_ins_are_not(stack):
    for _ in range(15):
        async with stack.http.post(
            "/v1/agents/sign-in", json={"user": "bert", "password": "battery staple"}
        ) as response:
            assert response.status == 201
    statuses = []
    for _ in range(11):
        async with stack.http.post("/v1/agents/sign-in", json={"user": "anna", "password": "guess"}) as response:
            statuses.append(response.status)
    assert statuses == [401] * 10 + [429]
    async with stack.http.post("/v1/agents/sign-in", json={"user": "anna", "password": "correct horse"}) as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1


async def test_after_signing_out_the_token_is_worth_nothing(stack):
    auth = {"Authorization": f"Bearer {stack.tokens.mint_agent('anna', lifetime_s=60)}"}
    async with stack.http.post("/v1/agents/sign-out", headers=auth) as response:
        assert response.status == 204
    async with stack.http.post("/v1/agents/sign-out", headers=auth) as response:
        assert response.status == 401


async def test_a_sign_out_is_kept_and_counts_though_it_cannot_be(stack):
    kept = []

    async def add(token_id, expires_at):
        kept.append(token_id)
        if len(kept) == 2:
            raise StoreError("the disk is full")

    stack.revocations.add = add
    tokens = [stack.tokens.mint_agent("anna", lifetime_s=60) for _ in range(2)]
    ids = [stack.tokens.verify_agent(token).token_id for token in tokens]
    for token in tokens:
        async with stack.http.post("/v1/agents/sign-out", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 204
        with pytest.raises(TokenRefused):
            stack.tokens.verify_agent(token)
    assert kept == ids


async def test_customers_pages_sign_in_no_agents(stack):
    headers = {"Origin": ALLOWED}
    async with stack.http.post("/v1/agents/sign-in", json={}, headers=headers) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_body_that_is_not_right_is_explained_without_repeating_it(stack):
    form = {"user": "anna", "passwort": "secret text"}
    async with stack.http.post("/v1/agents/sign-in", json=form) as response:
        assert response.status == 422
        text = await response.text()
    assert "#/password" in text
    assert "secret text" not in text


@pytest.mark.parametrize(
    ("origin", "status", "allowed"),
    [(ALLOWED, 200, ALLOWED), ("https://evil.example", 403, None), (None, 200, None)],
)
async def test_an_entry_is_shown_to_its_origins(stack, origin, status, allowed):
    headers = {"Origin": origin} if origin else {}
    async with stack.http.get("/v1/entries/demo", headers=headers) as response:
        assert response.status == status
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        if status == 200:
            body = await response.json()
            assert (body["title"], body["video"], body["open"]) == ("Talk to us", "two-way", True)
            assert body["consent"] == {"version": "2026-11", "text": "We see you <only> if you agree."}
        else:
            assert "allowed_origins" in (await response.json())["detail"]


async def test_ready_says_draining_and_what_does_not_work(stack):
    async with stack.http.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})
    stack.problem = "shard 1 does not answer"
    async with stack.http.get("/readyz") as response:
        assert (response.status, await response.json()) == (503, {"status": "not ready"})
    async with stack.admin_http.get("/readyz") as response:
        assert (await response.json())["checks"] == {"engine": "shard 1 does not answer"}
    stack.problem = None
    stack.admission.drain()
    async with stack.http.get("/readyz") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
    async with stack.http.get("/healthz") as response:
        assert response.status == 200


async def test_metrics_are_on_the_admin_listener_only(stack):
    async with stack.http.get("/healthz"):
        pass
    async with stack.admin_http.get("/metrics") as response:
        text = await response.text()
    assert 'mediaserver_http_requests_total{method="GET",status="200"} 1.0' in text
    async with stack.http.get("/metrics") as response:
        assert response.status == 404


@pytest.mark.parametrize("path", ["/v1/records", "/v1/records/c1", "/v1/entries"])
@pytest.mark.parametrize("token", [None, "wrong", ""])
async def test_administration_needs_its_token(stack, path, token):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with stack.admin_http.get(path, headers=headers) as response:
        assert response.status == 401


async def test_records_come_in_pages(stack):
    async with stack.admin_http.get("/v1/records?limit=2", headers=ADMIN) as response:
        page = await response.json()
    assert [item["contact_id"] for item in page["items"]] == ["c3", "c2"]
    async with stack.admin_http.get(f"/v1/records?limit=2&before={page['next']}", headers=ADMIN) as response:
        page = await response.json()
    assert [item["contact_id"] for item in page["items"]] == ["c1"]
    assert page["next"] is None


async def test_one_record_is_read_by_its_contact(stack):
    async with stack.admin_http.get("/v1/records/c2", headers=ADMIN) as response:
        assert (await response.json())["ended_by"] == "caller"
    async with stack.admin_http.get("/v1/records/c9", headers=ADMIN) as response:
        assert response.status == 404


@pytest.mark.parametrize("limit", ["0", "-1", "501", "x", "²", "9" * 5000])
async def test_a_wrong_page_size_is_refused(stack, limit):
    async with stack.admin_http.get(f"/v1/records?limit={limit}", headers=ADMIN) as response:
        assert response.status == 400


async def test_the_admin_sees_which_origins_an_entry_has(stack):
    async with stack.admin_http.get("/v1/entries", headers=ADMIN) as response:
        items = (await response.json())["items"]
    assert items[0]["origins"] == ["self", ALLOWED, "https://*.shop.example"]


async def test_a_page_carries_its_entrys_consent_text_as_text(stack):
    async with stack.http.get("/call/demo") as response:
        page = await response.text()
    assert '<meta name="consent-version" content="2026-11">' in page
    assert '<meta name="consent-text" content="We see you &lt;only&gt; if you agree.">' in page


async def test_pages_name_their_entry_and_are_revalidated(stack):
    async with stack.http.get("/call/open") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert 'content="open"' in await response.text()
        etag = response.headers["ETag"]
    async with stack.http.get("/call/open", headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    async with stack.http.get("/call/other") as response:
        assert response.status == 404


async def test_the_page_of_rooms_loads_everything_from_here_and_may_use_devices(stack):
    async with stack.http.get("/room") as response:
        page = await response.text()
        assert response.status == 200
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        for device in ("camera", "microphone", "display-capture"):
            assert f"{device}=(self)" in response.headers["Permissions-Policy"]
    for name in re.findall(r'(?:href|src)="(/web/[^"]+)"', page):
        async with stack.http.get(name) as response:
            assert response.status == 200, name
    assert "style=" not in page


@pytest.mark.parametrize("name", ["call.html", "room.html", "__init__.py", "..%2fapi%2fauth.py", "nothing.js"])
async def test_only_assets_are_assets(stack, name):
    async with stack.http.get(f"/web/{name}") as response:
        assert response.status == 404


async def test_the_widget_may_be_loaded_by_any_page(stack):
    for path in ("/widget.js", "/web/session.js"):
        async with stack.http.get(path) as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/javascript")
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_https_is_served_and_asked_for_again():
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    metrics = ApiMetrics(Metrics())
    resource = HealthResource(admission=Admission(), checks={}, detailed=False)
    app = make_app([resource], name="https", metrics=metrics, source_of=SourceResolver())
    listeners = Listeners(app, [Bind("127.0.0.1", 0, server), Bind("127.0.0.1", 0)], metrics=metrics)
    await listeners.start()
    try:
        async with aiohttp.ClientSession() as http:
            async with http.get(f"https://localhost:{listeners.addresses[0][1]}/healthz", ssl=client) as response:
                assert response.status == 200
                assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
            async with http.get(f"http://localhost:{listeners.addresses[1][1]}/healthz") as response:
                assert "Strict-Transport-Security" not in response.headers
    finally:
        await listeners.stop()


async def test_an_address_that_is_taken_leaves_nothing_open():
    metrics = ApiMetrics(Metrics())
    app = make_app([], name="http", metrics=metrics, source_of=SourceResolver())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listeners = Listeners(app, [Bind("127.0.0.1", 0), Bind("127.0.0.1", taken.getsockname()[1])], metrics=metrics)
        with pytest.raises(OSError, match="address already in use"):
            await listeners.start()
    host, port = listeners.addresses[0]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)
