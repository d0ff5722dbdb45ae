// The agent page: sign in, be rung with what is known about the caller, answer, talk, hang up, dial.

import { BASE } from "./base.js";
import { Agent } from "./agent.js";
import { Keypad } from "./keypad.js";
import { LineView } from "./line_view.js";
import { Ring } from "./ring.js";
import { Stage } from "./stage.js";
import { CallChat, LiveText } from "./texts.js";
import { busy, button, el, say, show, toggle } from "./ui.js";

const STORED = "mediaserver.agent";
const root = document.getElementById("agent");

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function signInView(notice = "") {
  const user = el("input", { id: "user", name: "user", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = el("input", { id: "password", name: "password", type: "password", autocomplete: "current-password", required: true });
  const problem = el("p", { class: "status problem", role: "alert", text: notice });
  const submit = el("button", { type: "submit", class: "button primary", text: "Sign in" });
  const form = el(
    "form",
    { class: "card sign-in", onsubmit: signIn },
    el("h1", { text: "Agent sign-in" }),
    el("label", { for: "user", text: "User" }),
    user,
    el("label", { for: "password", text: "Password" }),
    password,
    problem,
    submit,
  );

  async function signIn(event) {
    event.preventDefault();
    submit.disabled = true;
    say(problem, "");
    try {
      const response = await fetch(`${BASE}/v1/agents/sign-in`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ user: user.value, password: password.value }),
      });
      const body = await response.json();
      if (!response.ok) throw new Error(body.detail);
      sessionStorage.setItem(STORED, JSON.stringify(body));
      workView(body);
    } catch (error) {
      say(problem, error instanceof TypeError ? "The server cannot be reached." : error.message);
      password.select();
    } finally {
      submit.disabled = false;
    }
  }

  root.classList.add("narrow");
  root.replaceChildren(form);
  user.focus();
}

function workView({ token, name, user }) {
  const agent = new Agent(token);
  const stage = new Stage();
  const ring = new Ring();
  const keypad = new Keypad((key) => agent.press(key));
  const chat = new CallChat();
  const liveText = new LiveText();
  let ringing = false;

  const state = el("p", { class: "state", role: "status", "aria-live": "polite" });
  const notice = el("p", { class: "notice", role: "status", "aria-live": "polite" });
  const signOut = el("button", { type: "button", class: "button quiet", text: "Sign out", onclick: leave });
  const lineButton = el("button", { type: "button", class: "button quiet", text: "Test my line", onclick: () => testLine(true) });
  const line = new LineView(BASE, { bearer: token }, { onClose: () => testLine(false) });
  let testing = false;

  const incomingName = el("h2", { id: "incoming-name" });
  const incomingAbout = el("div", { class: "about" });
  const answerButton = button("Answer", "answer", "primary go", () => agent.answer());
  const declineButton = button("Decline", "hangup", "control danger", () => agent.decline());
  const incoming = el(
    "section",
    { class: "card incoming", role: "alertdialog", "aria-labelledby": "incoming-name", "aria-describedby": "incoming-about" },
    el("p", { class: "eyebrow", text: "Incoming call" }),
    incomingName,
    incomingAbout,
    el("div", { class: "controls" }, answerButton, declineButton),
  );
  incomingAbout.id = "incoming-about";

  const target = el("input", { id: "target", autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder: "user, number or sip:address", maxlength: "256" });
  const dialButton = el("button", { type: "submit", class: "button primary", text: "Call" });
  const dial = el(
    "form",
    { class: "card dial", onsubmit: (event) => { event.preventDefault(); agent.dial(target.value.trim()); } },
    el("label", { for: "target", text: "Call somebody" }),
    el("div", { class: "row" }, target, dialButton),
  );

  const muteButton = button("Mute", "mute", "control", () => agent.toggleMute());
  const cameraButton = button("Camera", "call", "control", () => agent.toggleCamera());
  const hangUpButton = button("Hang up", "hangup", "control danger", () => agent.hangUp());
  const partyAbout = el("div", { class: "about" });
  const side = el("aside", { class: "card side", "aria-label": "About the caller" }, partyAbout);
  const talk = el(
    "section",
    { class: "talk", "aria-label": "Call" },
    el(
      "div",
      { class: "panel" },
      stage.element,
      el("div", { class: "foot" }, el("div", { class: "controls" }, muteButton, cameraButton, chat.button, liveText.button, keypad.button, hangUpButton),
        keypad.element, liveText.element, chat.element),
    ),
    side,
  );

  root.classList.remove("narrow");
  root.replaceChildren(
    el("header", { class: "bar" }, el("div", {}, el("h1", { text: name || user }), state),
      el("div", { class: "actions" }, lineButton, signOut)),
    notice,
    incoming,
    talk,
    line.element,
    dial,
  );

  function testLine(wanted) {
    testing = wanted;
    if (!wanted) line.stop();
    render();
    if (wanted) line.focus();
    else if (!ringing && !agent.active) lineButton.focus();
  }

  let shownIncoming = null;
  let shownParty = null;

  function render() {
    const focused = document.activeElement;
    say(state, stateText(agent));
    state.dataset.phase = agent.away ? "offline" : agent.phase;
    say(notice, agent.notice);
    if (agent.incoming !== shownIncoming) {
      shownIncoming = agent.incoming;
      if (shownIncoming) {
        say(incomingName, shownIncoming.caller.name || "Unknown caller");
        incomingAbout.replaceChildren(...about(shownIncoming));
      }
    }
    if (agent.party !== shownParty) {
      shownParty = agent.party;
      partyAbout.replaceChildren(...(shownParty ? about(shownParty) : []));
    }
    const rang = ringing;
    ringing = agent.phase === "ringing";
    show(incoming, ringing);
    show(talk, agent.active);
    show(side, Boolean(agent.party));
    show(dial, agent.phase === "ready");
    // A call needs camera and microphone, and the whole line.
    if (testing && (ringing || agent.active)) {
      testing = false;
      line.stop();
    }
    show(line.element, testing);
    show(lineButton, !testing && !ringing && !agent.active);
    show(notice, Boolean(agent.notice));
    document.title = ringing ? `☎ ${agent.incoming.caller.name || "Incoming call"}` : `Agent ${name || user}`;
    if (ringing) ring.start();
    else ring.stop();
    if (ringing && !rang) answerButton.focus();
    stage.setRemote(agent.remote);
    stage.setLocal(agent.localVideo);
    stage.setRunning(agent.phase === "connected" || agent.phase === "held");
    stage.setCaption(agent.peerName || "Calling", { pulsing: agent.phase === "calling" });
    toggle(muteButton, agent.muted);
    toggle(cameraButton, agent.cameraOn);
    busy(cameraButton, agent.cameraBusy);
    keypad.render({ offered: agent.active, usable: agent.phase === "connected", digits: agent.digits });
    const talking = agent.phase === "connected" || agent.phase === "held";
    chat.render({ offered: talking, channel: agent.chatChannel, peerName: agent.peerName });
    liveText.render({ offered: talking && agent.liveText, channel: agent.typingChannel, peerName: agent.peerName });
    if (focused?.closest("[hidden]")) (agent.active ? hangUpButton : agent.phase === "ready" ? target : signOut).focus();
  }

  async function leave() {
    agent.disconnect();
    line.stop();
    ring.stop();
    sessionStorage.removeItem(STORED);
    fetch(`${BASE}/v1/agents/sign-out`, { method: "POST", headers: { Authorization: `Bearer ${token}` } }).catch(() => {});
    removeEventListener("pagehide", hide);
    signInView();
  }

  const hide = () => {
    line.stop();
    agent.disconnect();
  };
  addEventListener("pagehide", hide);
  agent.addEventListener("change", render);
  agent.addEventListener("signed-out", ({ detail }) => {
    line.stop();
    ring.stop();
    removeEventListener("pagehide", hide);
    sessionStorage.removeItem(STORED);
    signInView(detail);
  });
  render();
  agent.connect();
}

function stateText(agent) {
  if (agent.away && agent.phase === "offline") return "Not connected. Trying again …";
  if (agent.away) return "The connection was interrupted. Reconnecting …";
  if (agent.trouble) return "The connection is weak. Trying another way …";
  switch (agent.phase) {
    case "offline":
      return "Connecting …";
    case "ready":
      return "Ready for calls";
    case "ringing":
      return `${agent.incoming.caller.name || "Somebody"} is calling`;
    case "calling":
      return "Connecting the call …";
    case "held":
      return "On hold";
    default:
      return `Talking to ${agent.peerName || "caller"}`;
  }
}

// What is known about a caller. What the house signed and what a page merely says are kept apart, and all is text.
function about({ caller, page, changed = false }) {
  const words = caller.verified ? "Verified customer" : "Not verified";
  const parts = [
    el("p", {}, el("span", {
      class: `badge ${caller.verified && !changed ? "good" : "plain"}`,
      text: changed ? `Called by ${caller.name || "somebody else"}` : words,
    })),
  ];
  if (page?.url) {
    parts.push(
      el("h3", { text: "Calls from this page" }, badge(" unverified")),
      el("p", { class: "page-title", text: page.title || "" }),
      el("p", { class: "page-url", text: page.url }),
    );
  }
  parts.push(...table("Known about the customer", caller.attributes, null));
  parts.push(...table("Said by the page", caller.unverified_attributes, " unverified"));
  return parts;
}

function badge(text) {
  return el("span", { class: "badge plain", text });
}

function table(title, attributes, mark) {
  const pairs = Object.entries(attributes ?? {});
  if (!pairs.length) return [];
  const heading = el("h3", { text: title });
  if (mark) heading.append(badge(mark));
  const list = el("dl", {});
  for (const [name, value] of pairs) list.append(el("dt", { text: name }), el("dd", { text: value }));
  return [heading, list];
}

const known = stored();
if (known?.token && known.expires_at * 1000 > Date.now()) workView(known);
else signInView();
