"""SIP clients for web pages, JsSIP and SIP.js, in a page of their own: they register, call and are called.

Their packages come from npm, pinned and hashed in ``sip_clients/package-lock.json`` (``make peers`` installs them).
JsSIP is written for bundlers: its modules are wrapped into one script here, by a ``require`` of our own.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web
from playwright.async_api import Page

from tests.peers.chromium import Chromium, Tab
from tests.peers.namespace import LOOPBACK, Network

Library = Literal["jssip", "sip.js"]
LIBRARIES: tuple[Library, ...] = ("jssip", "sip.js")

MODULES = Path(__file__).parent / "sip_clients" / "node_modules"

_REQUIRE = re.compile(r"""require\((['"])([^'"]+)\1\)""")

_LOADER = """
(() => {
  const sources = __SOURCES__;
  const loaded = {};
  const load = name => {
    if (!loaded[name]) {
      const module = loaded[name] = {exports: {}};
      const [names, run] = sources[name];
      run.call(module.exports, module, module.exports, wanted => load(names[wanted]));
    }
    return loaded[name].exports;
  };
  window.process = window.process || {env: {}};
  window.JsSIP = load(__MAIN__);
})();
"""

_PAGE = """<!doctype html><link rel="icon" href="data:,"><title>Web phone</title><video autoplay playsinline></video>
<script src="/jssip.js"></script>
<script type="module">
import * as SIP from '/modules/sip.js/lib/index.js';

const said = window.said = [];
const say = (...words) => said.push(words.join(' '));
const remote = document.querySelector('video');

const start = {
  'jssip': ({server, domain, user, password, video}) => {
    const media = {audio: true, video};
    const agent = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(server)], uri: `sip:${user}@${domain}`, password, register_expires: 300,
    });
    let current = null;
    const listen = connection => connection.addEventListener('track', event => { remote.srcObject = event.streams[0]; });
    agent.on('registered', () => say('registered'));
    agent.on('unregistered', () => say('unregistered'));
    agent.on('registrationFailed', event => say('registration failed', event.cause));
    agent.on('newMessage', ({originator, message, request}) => {
      if (originator === 'remote') say('message', request.body);
    });
    agent.on('newRTCSession', ({session, originator}) => {
      current = session;
      session.on('peerconnection', event => listen(event.peerconnection));
      session.on('confirmed', () => say('confirmed'));
      session.on('ended', event => say('ended', event.cause));
      session.on('failed', event => say('failed', event.cause));
      session.on('hold', ({originator}) => say('hold', originator));
      session.on('unhold', ({originator}) => say('unhold', originator));
      if (originator === 'remote') {
        say('incoming', session.remote_identity.uri.user);
        session.answer({mediaConstraints: media});
      } else {
        listen(session.connection);
      }
    });
    agent.start();
    return {
      call: target => { agent.call(target, {mediaConstraints: media}); },
      hangup: () => current.terminate(),
      hold: () => current.hold(),
      unhold: () => current.unhold(),
      message: (target, text) => agent.sendMessage(target, text, {eventHandlers: {
        succeeded: () => say('message sent'), failed: event => say('message failed', event.cause)}}),
      watch: (target, event, accept) => {
        const watching = agent.subscribe(target, event, accept, {expires: 600, params: {}, extraHeaders: []});
        const all = (body, pattern) => [...body.matchAll(pattern)].map(found => found[1]);
        watching.on('notify', (last, request, body) => say(event, ...all(body, /<(?:state|basic|note)>([^<]*)/g)));
        watching.on('terminated', code => say('watched', event, code));
        watching.subscribe();
      },
      stop: () => agent.stop(),
    };
  },
  'sip.js': ({server, domain, user, password, video}) => {
    const media = {audio: true, video};
    const agent = new SIP.Web.SimpleUser(server, {
      aor: `sip:${user}@${domain}`,
      media: {constraints: media, remote: {audio: remote, video: remote}},
      userAgentOptions: {
        authorizationUsername: user, authorizationPassword: password, logLevel: 'error',
        transportOptions: {server, keepAliveInterval: 1},
      },
    });
    agent.delegate = {
      onRegistered: () => say('registered'),
      onUnregistered: () => say('unregistered'),
      onCallReceived: async () => { say('incoming'); await agent.answer(); },
      onCallAnswered: () => say('confirmed'),
      onCallHangup: () => say('ended'),
      onCallHold: held => say(held ? 'hold local' : 'unhold local'),
      onMessageReceived: text => say('message', text),
    };
    agent.connect().then(() => agent.register()).catch(error => say('failed', error));
    return {
      call: target => agent.call(target),
      hangup: () => agent.hangup(),
      hold: () => agent.hold(),
      unhold: () => agent.unhold(),
      message: (target, text) => agent.message(target, text).then(() => say('message sent')),
      stop: async () => { await agent.unregister(); await agent.disconnect(); },
    };
  },
};
window.start = (library, options) => { window.phone = start[library](options); };
</script>"""


@dataclass(frozen=True, slots=True)
class WebPhone:
    """One client in one page."""

    tab: Tab

    @property
    def page(self) -> Page:
        return self.tab.page

    async def said(self, words: str, *, times: int = 1, within_s: float = 40.0) -> None:
        """Wait until the client has said something that begins so, so many times."""
        await self.page.wait_for_function(
            "([words, times]) => window.said.filter(line => line.startsWith(words)).length >= times",
            arg=[words, times],
            timeout=within_s * 1000,
        )

    async def do(self, what: str, *arguments: str) -> None:
        """Call one of its functions: ``call``, ``hangup``, ``hold``, ``unhold``, ``message``, ``watch``, ``stop``."""
        await self.page.evaluate("([what, words]) => window.phone[what](...words)", [what, list(arguments)])


@dataclass(frozen=True, slots=True)
class WebPhones:
    """The site that serves the clients."""

    origin: str

    async def open(
        self,
        browser: Chromium,
        library: Library,
        *,
        server: str,
        domain: str,
        user: str,
        password: str,
        video: bool = False,
    ) -> WebPhone:
        """A page in which a client of this make begins to register at ``server`` (``ws://…``, ``wss://…``)."""
        tab = await browser.new_tab(f"{self.origin}/")
        await tab.page.wait_for_function("window.start !== undefined")
        options = {"server": server, "domain": domain, "user": user, "password": password, "video": video}
        await tab.page.evaluate("([library, options]) => window.start(library, options)", [library, options])
        return WebPhone(tab)


@contextlib.asynccontextmanager
async def web_phones(network: Network = LOOPBACK) -> AsyncIterator[WebPhones]:
    """Serve the clients inside ``network``."""
    sock = network.open_socket()
    sock.bind(("127.0.0.1", 0))
    script = commonjs_bundle("jssip")

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def jssip(_request: web.Request) -> web.Response:
        return web.Response(text=script, content_type="text/javascript")

    application = web.Application()
    application.router.add_get("/", page)
    application.router.add_get("/jssip.js", jssip)
    application.router.add_static("/modules", MODULES)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        yield WebPhones(f"http://localhost:{sock.getsockname()[1]}")
    finally:
        await runner.cleanup()


def commonjs_bundle(package: str) -> str:
    """One script with a package and all that it requires, which leaves the package as ``window.JsSIP``."""
    if not MODULES.is_dir():
        raise FileNotFoundError(f"{MODULES} is missing: run `make peers`")
    main = _resolve(MODULES, package)
    waiting, parts = [main], {}
    while waiting:
        path = waiting.pop()
        if path in parts:
            continue
        source = path.read_text()
        if path.suffix == ".json":
            source = f"module.exports = {source};"
        names = {wanted: _resolve(path.parent, wanted) for _, wanted in _REQUIRE.findall(source) if wanted != "tty"}
        waiting += names.values()
        table = json.dumps({wanted: str(found) for wanted, found in names.items()})
        parts[path] = f"{json.dumps(str(path))}: [{table}, function (module, exports, require) {{\n{source}\n}}]"
    return _LOADER.replace("__MAIN__", json.dumps(str(main))).replace(
        "__SOURCES__", "{" + ",\n".join(parts.values()) + "}"
    )


def _resolve(folder: Path, wanted: str) -> Path:
    """The file that ``require(wanted)`` means in a module of this folder, as a bundler for browsers sees it."""
    if wanted.startswith("."):
        base = folder / wanted
        found = (base, base.with_name(base.name + ".js"), base / "index.js")
        return next(path for path in found if path.is_file()).resolve()
    package = MODULES / wanted
    about = json.loads((package / "package.json").read_text())
    browser = about.get("browser")
    entry = browser if isinstance(browser, str) else about.get("main", "index.js")
    return _resolve(package, "./" + entry.removeprefix("./"))
