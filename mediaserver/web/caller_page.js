// The caller page: one panel for the entry that the page was made for.

import { CallPanel } from "./panel.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const query = new URLSearchParams(location.search);

const options = {
  server: location.origin,
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

function attributesOf(parameters) {
  const pairs = [...parameters].filter(([name]) => name !== "token" && /^[A-Za-z0-9_.-]{1,64}$/.test(name));
  return Object.fromEntries(pairs.slice(0, 32).map(([name, value]) => [name, value.slice(0, 1024)]));
}
