// The caller page: one panel for the entry that the page was made for.

import { BASE } from "./base.js";
import { CallPanel } from "./panel.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const query = new URLSearchParams(location.search);

const options = {
  server: BASE,
  servers: meta("servers").split(" ").filter(Boolean),
  entry: meta("entry"),
  video: meta("video"),
  consentVersion: meta("consent-version"),
  consentText: meta("consent-text"),
  token: query.get("token"),
  link: new URLSearchParams(location.hash.slice(1)).get("link"),
  attributes: attributesOf(query),
  page: { url: location.href.slice(0, 2048), title: document.title.slice(0, 256) },
};
const panel = new CallPanel(options);
document.getElementById("panel").append(panel.element);

// A token does not stay in the address bar, nor in what the agent sees.
if (query.has("token") || options.link) {
  query.delete("token");
  const rest = query.toString();
  history.replaceState(null, "", location.pathname + (rest ? `?${rest}` : ""));
  options.page.url = location.href.slice(0, 2048);
}

// Who brings a picture into a call by phone is in that call already.
const beforeCall = document.getElementById("before-call");
const place = document.getElementById("line");
let line = null;

async function testLine(event) {
  event?.preventDefault();
  if (line || panel.call.active) return;
  const { LineView } = await import("./line_view.js");
  if (line || panel.call.active) return;
  line = new LineView(options.server, { entry: options.entry, token: options.token }, { onClose: () => endTest({ focus: true }) });
  place.replaceChildren(line.element);
  offerTest();
  line.focus();
}

function endTest({ focus = false } = {}) {
  line?.stop();
  line = null;
  place.replaceChildren();
  offerTest();
  if (focus) document.getElementById("test-line").focus();
}

function offerTest() {
  beforeCall.hidden = Boolean(options.link || line || panel.call.active);
}

document.getElementById("test-line").addEventListener("click", testLine);
addEventListener("pagehide", () => line?.stop());
panel.call.addEventListener("change", () => {
  // A call needs camera and microphone, and the whole line.
  if (panel.call.active && line) endTest();
  offerTest();
});
offerTest();
if (location.hash === "#line" && !options.link) testLine();

function attributesOf(parameters) {
  const pairs = [...parameters].filter(([name]) => name !== "token" && /^[A-Za-z0-9_.-]{1,64}$/.test(name));
  return Object.fromEntries(pairs.slice(0, 32).map(([name, value]) => [name, value.slice(0, 1024)]));
}
