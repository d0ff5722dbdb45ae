"""WHIP and WHEP: the rules of RFC 9725 about methods, media types, entity tags, tokens and CORS."""

from __future__ import annotations

import pytest

from mediaserver.api.room_sessions import RoomLimits
from tests.api.fakes import ADMIN_TOKEN

OFFER = "v=0\r\ns=offer\r\n"
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
KINDS = pytest.mark.parametrize(("kind", "direction"), [("whip", "publish"), ("whep", "view")])


def bearer(stack, *directions, room="lobby", subject="studio", lifetime_s=60):
    token = stack.tokens.mint_room(room=room, directions=directions, subject=subject, lifetime_s=lifetime_s)
    return {"Authorization": f"Bearer {token}"}


async def opened(stack, kind="whip", direction="publish"):
    auth = bearer(stack, direction)
    async with stack.http.post(f"/v1/rooms/lobby/{kind}", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.status == 201
        return response.headers["Location"], response.headers["ETag"], auth


@KINDS
async def test_an_offer_is_answered_with_a_resource(stack, kind, direction):
    auth = bearer(stack, direction)
    async with stack.http.post(f"/v1/rooms/lobby/{kind}", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.status == 201
        assert response.headers["Content-Type"] == "application/sdp"
        assert response.headers["Location"] == f"/v1/rooms/lobby/{kind}/session-1"
        assert response.headers["ETag"] == '"ice-1"'
        assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
        assert await response.text() == "v=0\r\ns=answer\r\n"
    assert stack.rooms.calls == [(direction, "lobby", "studio")]
    assert stack.metrics.value("room_sessions", kind=kind) == 1


async def test_ice_servers_are_links(stack):
    auth = bearer(stack, "publish")
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.headers["Link"] == (
            '<turn:turn.example.org>; rel="ice-server"; username="u"; credential="p"; credential-type="password"'
        )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": "Bearer "}, 401),
    ],
)
async def test_without_a_good_token_nothing_happens(stack, headers, status):
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **headers}) as response:
        assert response.status == status
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert stack.rooms.calls == []


async def test_an_expired_token_is_refused(stack):
    auth = bearer(stack, "publish")
    stack.clock.wall += 61
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.status == 401
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


async def test_a_token_is_good_for_its_room_and_direction_only(stack):
    for auth in (bearer(stack, "view"), bearer(stack, "publish", room="other")):
        async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **auth}) as response:
            assert response.status == 403
            assert "insufficient_scope" in response.headers["WWW-Authenticate"]
    agent = {"Authorization": f"Bearer {stack.tokens.mint_agent('anna', lifetime_s=60)}"}
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **agent}) as response:
        assert response.status == 401
    assert stack.rooms.calls == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (OFFER, {"Content-Type": "application/json"}, 415),
        ("", SDP, 400),
        ("not sdp", SDP, 400),
        ("nothing in common", SDP, 422),
        (b"\xff\xfe", SDP, 400),
        ("x" * 70_000, SDP, 413),
    ],
)
async def test_a_bad_offer_is_explained(stack, body, headers, status):
    auth = bearer(stack, "publish")
    async with stack.http.post("/v1/rooms/lobby/whip", data=body, headers={**headers, **auth}) as response:
        assert response.status == status
        assert response.headers["Content-Type"].startswith("application/problem+json")
        problem = await response.json()
        assert problem["status"] == status
        assert problem["detail"]
        if status == 415:
            assert response.headers["Accept-Post"] == "application/sdp"


async def test_a_line_without_room_is_told_with_a_time_and_without_its_name(stack):
    auth = bearer(stack, "publish")
    async with stack.http.post("/v1/rooms/lobby/whip", data="full line", headers={**SDP, **auth}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "10")
        problem = await response.json()
        assert problem["type"] == "urn:mediaserver:problem:insufficient-bandwidth"
        assert problem["warning_code"] == 370
        assert "munich" not in str(problem)


async def test_a_room_without_a_publisher_is_not_found(stack):
    auth = bearer(stack, "view", room="empty")
    async with stack.http.post("/v1/rooms/empty/whep", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_other_methods_of_the_endpoint_are_reserved(stack, method):
    async with stack.http.request(method, "/v1/rooms/lobby/whip") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST"])
async def test_other_methods_of_a_session_are_reserved(stack, method):
    location, _, auth = await opened(stack)
    async with stack.http.request(method, location, headers=auth) as response:
        assert response.status == 405


async def test_options_says_what_may_be_posted(stack):
    headers = {"Origin": "https://studio.example", "Access-Control-Request-Method": "POST"}
    async with stack.http.options("/v1/rooms/lobby/whip", headers=headers) as response:
        assert response.status == 204
        assert response.headers["Accept-Post"] == "application/sdp"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        for name in ("authorization", "content-type", "if-match"):
            assert name in response.headers["Access-Control-Allow-Headers"]


async def test_a_page_elsewhere_may_read_location_etag_and_links_and_errors(stack):
    headers = {**SDP, **bearer(stack, "publish"), "Origin": "https://studio.example"}
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers=headers) as response:
        exposed = response.headers["Access-Control-Expose-Headers"]
        assert {"Location", "ETag", "Link"} <= set(exposed.split(", "))
    async with stack.http.post("/v1/rooms/lobby/whip", data="not sdp", headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"


@KINDS
async def test_candidates_are_trickled_with_the_current_tag(stack, kind, direction):
    location, etag, auth = await opened(stack, kind, direction)
    headers = {**FRAGMENT, **auth, "If-Match": etag}
    async with stack.http.patch(location, data="a=candidate:1", headers=headers) as response:
        assert response.status == 204
        assert response.headers["ETag"] == etag
    assert stack.rooms.sessions[0].fragments == ["a=candidate:1"]


async def test_patch_without_if_match_is_428(stack):
    location, _, auth = await opened(stack)
    async with stack.http.patch(location, data="a=candidate:1", headers={**FRAGMENT, **auth}) as response:
        assert response.status == 428
    assert stack.rooms.sessions[0].fragments == []


@pytest.mark.parametrize("tag", ['"ice-0"', 'W/"ice-1"', "ice-1", '""'])
async def test_patch_with_another_tag_is_412(stack, tag):
    location, _, auth = await opened(stack)
    headers = {**FRAGMENT, **auth, "If-Match": tag}
    async with stack.http.patch(location, data="a=candidate:1", headers=headers) as response:
        assert response.status == 412
    assert stack.rooms.sessions[0].fragments == []


async def test_one_of_several_tags_is_enough(stack):
    location, etag, auth = await opened(stack)
    headers = {**FRAGMENT, **auth, "If-Match": f'"old", {etag}'}
    async with stack.http.patch(location, data="a=candidate:1", headers=headers) as response:
        assert response.status == 204


@pytest.mark.parametrize("star", ["*", '"*"'])
async def test_an_ice_restart_gives_a_new_tag_and_makes_the_old_one_stale(stack, star):
    location, etag, auth = await opened(stack)
    headers = {**FRAGMENT, **auth, "If-Match": star}
    async with stack.http.patch(location, data="a=ice-ufrag:abcd", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/trickle-ice-sdpfrag"
        assert response.headers["ETag"] == '"ice-2"'
        assert "a=ice-ufrag:new" in await response.text()
    async with stack.http.patch(location, data="a=candidate:1", headers={**headers, "If-Match": etag}) as response:
        assert response.status == 412


async def test_a_bad_fragment_is_refused(stack):
    location, etag, auth = await opened(stack)
    headers = {**FRAGMENT, **auth, "If-Match": etag}
    async with stack.http.patch(location, data="broken", headers=headers) as response:
        assert response.status == 400
    async with stack.http.patch(location, data="a=b", headers={**headers, **SDP}) as response:
        assert response.status == 415
        assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"


async def test_delete_ends_the_session_and_its_name(stack):
    location, etag, auth = await opened(stack)
    async with stack.http.delete(location, headers=auth) as response:
        assert response.status == 200
    assert stack.rooms.sessions[0].reasons == ["the client ended it"]
    async with stack.http.delete(location, headers=auth) as response:
        assert response.status == 404
    headers = {**FRAGMENT, **auth, "If-Match": etag}
    async with stack.http.patch(location, data="a=candidate:1", headers=headers) as response:
        assert response.status == 404


async def test_a_session_that_ended_by_itself_is_gone(stack):
    location, _, auth = await opened(stack)
    stack.rooms.sessions[0].closed = True
    assert stack.metrics.value("room_sessions", kind="whip") == 0
    async with stack.http.delete(location, headers=auth) as response:
        assert response.status == 404


async def test_somebody_elses_session_looks_like_none(stack):
    location, _, _ = await opened(stack)
    other = bearer(stack, "publish", subject="rival")
    async with stack.http.delete(location, headers=other) as response:
        assert response.status == 404
    viewer = location.replace("/whip/", "/whep/")
    async with stack.http.delete(viewer, headers=bearer(stack, "view", "publish")) as response:
        assert response.status == 404
    assert not stack.rooms.sessions[0].closed


async def test_draining_refuses_new_sessions_and_serves_old_ones(stack):
    location, _, auth = await opened(stack)
    stack.admission.drain()
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "7"
    async with stack.http.delete(location, headers=auth) as response:
        assert response.status == 200


async def test_sessions_are_limited_and_ended_ones_make_room(stacks):
    stack = await stacks(rooms=RoomLimits(sessions=1))
    _, _, auth = await opened(stack)
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
    stack.rooms.sessions[0].closed = True
    await opened(stack)


async def test_the_rate_of_posts_is_limited(stacks):
    stack = await stacks(rooms=RoomLimits(posts_per_second_per_source=0.01, post_burst_per_source=1))
    _, _, auth = await opened(stack)
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers={**SDP, **auth}) as response:
        assert response.status == 429


async def test_the_admin_mints_tokens_with_a_scope(stack):
    wanted = {"room": "lobby", "directions": ["view"], "subject": "screen-1", "lifetime_s": 30}
    admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with stack.admin_http.post("/v1/tokens", json=wanted, headers=admin) as response:
        assert response.status == 201
        minted = await response.json()
    assert minted["expires_at"] == stack.clock.wall + 30
    headers = {**SDP, "Authorization": f"Bearer {minted['token']}"}
    async with stack.http.post("/v1/rooms/lobby/whep", data=OFFER, headers=headers) as response:
        assert response.status == 201
    async with stack.http.post("/v1/rooms/lobby/whip", data=OFFER, headers=headers) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"room": "a b"}, "room"),
        ({"directions": []}, "directions"),
        ({"lifetime_s": 10**6}, "lifetime_s"),
        ({"x": 1}, "x"),
    ],
)
async def test_a_token_request_is_checked(stack, change, word):
    wanted = {"room": "lobby", "directions": ["view"], "subject": "screen-1", **change}
    admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with stack.admin_http.post("/v1/tokens", json=wanted, headers=admin) as response:
        assert response.status == 422
        assert word in (await response.json())["detail"]
