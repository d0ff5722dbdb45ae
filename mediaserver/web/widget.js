// One script tag puts a video call button on any page:
//
//   <script src="https://video.example.org/widget.js" data-entry="demo" async></script>
//
// Attributes of the tag: data-entry (which entry to call), data-server (where, if not where this script came from),
// data-target (CSS selector of an element that takes the button; without it the button floats), data-title,
// data-token (a token signed by the site) or data-token-url (where the page's session gets one at each call),
// and data-attribute-NAME="…" for what the agent should see. Everything lives in a shadow root; the page's styles
// and the widget's leave each other alone.

(() => {
  const script = document.currentScript;
  const data = script.dataset;
  // It may be beneath a path, like https://www.example.org/video.
  const server = new URL(data.server ? `${data.server}/` : ".", data.server ? document.baseURI : script.src).href.replace(/\/+$/, "");

  // Why is not for this page to know: an origin that is not allowed may read nothing from the server.
  const REFUSED = "Calls cannot be made from this page. Please tell its owner.";

  const attributes = {};
  for (const { name, value } of script.attributes) {
    const match = /^data-attribute-([a-z0-9_.-]{1,64})$/.exec(name);
    if (match && Object.keys(attributes).length < 32) attributes[match[1]] = value.slice(0, 1024);
  }

  async function token() {
    if (!data.tokenUrl) return data.token || null;
    const response = await fetch(data.tokenUrl, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) throw new Error(`token request: ${response.status}`);
    const text = (await response.text()).trim();
    return text.startsWith("{") ? JSON.parse(text).token : text;
  }

  // What the page says about itself; the agent sees it marked as unverified.
  function page() {
    return { url: location.href.slice(0, 2048), title: document.title.slice(0, 256) };
  }

  async function build() {
    // Asked for at once, looked at below: where it fails, the page still says so.
    const described = describe();
    described.catch(() => {});
    const [{ CallPanel }, { button, el, show }] = await Promise.all([
      import(`${server}/web/panel.js`),
      import(`${server}/web/ui.js`),
    ]);
    const target = data.target ? document.querySelector(data.target) : null;
    const host = el("div", { class: "mediaserver-widget" });
    const root = host.attachShadow({ mode: "open" });
    const style = el("link", { rel: "stylesheet", href: `${server}/web/call.css` });
    const frame = el("div", { class: `root widget ${target ? "placed" : "floating"}`, hidden: true });
    // Nothing is shown unstyled.
    style.addEventListener("load", () => show(frame, true));
    style.addEventListener("error", () => show(frame, true));
    root.append(style, frame);
    (target ?? document.body).append(host);
    let entry;
    try {
      entry = await described;
    } catch (error) {
      frame.append(el("p", { class: "status problem refused", role: "status", text: REFUSED }));
      throw error;
    }
    const options = {
      server,
      servers: entry.servers,
      entry: data.entry,
      token,
      attributes,
      title: data.title || entry.title,
      video: entry.video,
      consentVersion: entry.consent.version,
      consentText: entry.consent.text,
    };
    let panel = null;
    const dialog = el("div", { class: "dialog", role: "dialog", "aria-label": options.title || "Call", hidden: true });
    const launcher = button("Video call", "call", "primary launcher", () => {
      if (!panel) {
        panel = new CallPanel(options, { onClose: close });
        dialog.append(panel.element);
      }
      panel.call.options.page = page();
      show(dialog, true);
      show(launcher, false);
      panel.start();
      panel.focus();
    });
    const close = () => {
      panel.call.hangUp();
      show(dialog, false);
      show(launcher, true);
      launcher.focus();
    };
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !panel.call.active) close();
    });
    frame.append(launcher, dialog);
  }

  async function describe() {
    if (!data.entry) throw new Error("the script tag needs data-entry");
    const response = await fetch(`${server}/v1/entries/${encodeURIComponent(data.entry)}`);
    const body = await response.json();
    if (!response.ok) throw new Error(body.detail);
    return body;
  }

  const begin = () => build().catch((error) => console.error("mediaserver widget:", error.message));
  if (document.body) begin();
  else addEventListener("DOMContentLoaded", begin);
})();
