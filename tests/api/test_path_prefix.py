"""Everything public is beneath a path, too, where the configuration has one; a proxy may take it away."""

from __future__ import annotations

import re

import pytest

from mediaserver.api.page_servers import PageServers
from mediaserver.config.loader import InvalidConfig, load_text


async def test_pages_and_api_are_there_with_the_path_and_without(stacks):
    stack = await stacks(servers=PageServers(prefix="/video"))
    for path in ("/", "/call/demo", "/agent", "/room", "/widget.js", "/web/base.js", "/v1/entries/demo", "/readyz"):
        for prefix in ("", "/video"):
            async with stack.http.get(f"{prefix}{path}") as response:
                assert response.status == 200, (prefix, path)
    async with stack.http.get("/video") as response:
        assert response.status == 200
    async with stack.http.get("/other/agent") as response:
        assert response.status == 404


async def test_pages_name_everything_by_the_path(stacks):
    stack = await stacks(servers=PageServers(["https://edge1.example.org"], prefix="/video"))
    for path in ("/call/demo", "/agent", "/room"):
        async with stack.http.get(path) as response:
            page = await response.text()
        named = re.findall(r'(?:href|src)="(/[^"]+)"', page)
        assert named
        assert all(each.startswith("/video/web/") for each in named)
        for name in named:
            async with stack.http.get(name) as response:
                assert response.status == 200, name
    async with stack.http.get("/call/demo") as response:
        assert 'content="https://edge1.example.org/video"' in await response.text()
        # A path in a policy would be taken as that of one file.
        assert (
            "connect-src 'self' https://edge1.example.org wss://edge1.example.org;"
            in (response.headers["Content-Security-Policy"])
        )
    async with stack.http.get("/v1/entries/demo") as response:
        assert (await response.json())["servers"] == ["https://edge1.example.org/video"]


async def test_the_description_says_where_its_paths_are(stacks):
    for prefix, servers in (("", None), ("/video", [{"url": "/video"}])):
        stack = await stacks(servers=PageServers(prefix=prefix))
        async with stack.http.get("/v1/openapi.json") as response:
            assert (await response.json()).get("servers") == servers


def test_servers_are_told_beneath_the_path():
    servers = PageServers(["https://edge1.example.org"], own="https://video.example.org", prefix="/video")
    servers.set(servers.known)
    assert servers.current == servers.known_bases == ("https://edge1.example.org/video",)
    assert servers.origins == ("https://video.example.org", "https://edge1.example.org")


@pytest.mark.parametrize(
    ("written", "read"), [("/video/", "/video"), ("/kunden/video", "/kunden/video"), ("null", None)]
)
def test_a_path_is_read_with_a_slash_at_its_end_or_without(written, read):
    assert load_text(f"web: {{path_prefix: {written}}}").config.web.path_prefix == read


@pytest.mark.parametrize(
    "written", ["video", "/", "//video", "/video//a", "/../a", "/a b", "/a?b", "/v1", "/sip/x", "/web", "/call/a", "7"]
)
def test_what_is_no_path_or_one_of_ours_is_refused(written):
    with pytest.raises(InvalidConfig, match="path_prefix"):
        load_text(f"web: {{path_prefix: '{written}'}}")
