// What is written during a call: a chat of whole messages, and text that the other side sees as it is typed (T.140).

import { button, el, say, show } from "./ui.js";

const MOST_SHOWN = 200;
const MOST_CHARACTERS = 1000;
const NEW_LINE = "\u2028";
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/u;

let panels = 0;

/** A list of lines that opens by a button, or by itself when the other side writes. Each call begins a new list. */
class TextPanel {
  _channel = null;
  _list = el("ol", { class: "messages", role: "log", "aria-live": "polite", tabindex: "0" });
  _peerName = "";
  #label;
  #unread = 0;
  #wanted = null;

  constructor(label, iconName) {
    this.#label = label;
    this.button = button(label, iconName, "control", () => this.#toggle());
    this.element = el("section", { class: "texts", id: `texts-${++panels}`, "aria-label": label }, el("h3", { text: label }));
    this.button.setAttribute("aria-controls", this.element.id);
    this._list.setAttribute("aria-label", label);
    this.#setOpen(false);
  }

  get open() {
    return !this.element.hidden;
  }

  /** `offered`: whether there is somebody to write to; `channel`: the present call's, null without one. */
  render({ offered, channel, peerName }) {
    this._peerName = peerName || "The other side";
    if (channel !== this._channel) this.#attach(channel);
    show(this.button, offered);
    if (!offered && this.open) this.#setOpen(false);
    if (!offered) this.#wanted = null;
  }

  /** Subclasses: what came on the channel. */
  _take() {}

  /** Subclasses: where somebody writes. */
  _focus() {}

  /** Subclasses: another call, or none. */
  _clear() {
    this._list.replaceChildren();
  }

  _add(name, text) {
    const near = this._list.scrollHeight - this._list.scrollTop - this._list.clientHeight < 80;
    const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    this._list.append(
      el("li", { class: name === "You" ? "own" : "" },
        el("p", { class: "from" }, el("b", { text: name }), ` ${time}`), el("p", { class: "text", text })),
    );
    while (this._list.children.length > MOST_SHOWN) this._list.firstChild.remove();
    // Who reads further up is not torn away.
    if (near || name === "You") this._list.scrollTop = this._list.scrollHeight;
  }

  /** The other side has written: shown at once, unless somebody has closed the list. */
  _noticed() {
    if (!this.open && this.#wanted === null && !this.button.hidden) this.#setOpen(true);
    if (!this.open) this.#unread += 1;
    this.#count();
  }

  #attach(channel) {
    if (this._channel) this._channel.onmessage = null;
    this._channel = channel;
    this.#unread = 0;
    this._clear();
    this.#count();
    if (channel) channel.onmessage = ({ data }) => typeof data === "string" && this._take(data);
  }

  #toggle() {
    this.#wanted = !this.open;
    this.#setOpen(this.#wanted);
    if (this.#wanted) this._focus();
  }

  #setOpen(open) {
    show(this.element, open);
    this.button.setAttribute("aria-expanded", String(open));
    if (open) this.#unread = 0;
    this.#count();
    this._list.scrollTop = this._list.scrollHeight;
  }

  #count() {
    say(this.button.lastChild, this.#unread ? `${this.#label} (${this.#unread} new)` : this.#label);
    this.button.classList.toggle("accent", this.#unread > 0);
  }
}

/** Messages, each sent when it is finished; a phone gets and sends them as SIP MESSAGE. */
export class CallChat extends TextPanel {
  #input = el("input", { autocomplete: "off", maxlength: String(MOST_CHARACTERS), id: `message-${panels + 1}` });
  #problem = el("p", { class: "status problem", role: "alert", hidden: true });

  constructor() {
    super("Chat", "chat");
    const form = el(
      "form",
      { onsubmit: (event) => { event.preventDefault(); this.#send(); } },
      el("label", { for: this.#input.id, text: "Message" }),
      el("div", { class: "row" }, this.#input, el("button", { type: "submit", class: "button primary", text: "Send" })),
      this.#problem,
    );
    this.element.append(this._list, form);
  }

  _focus() {
    this.#input.focus();
  }

  _clear() {
    super._clear();
    this.#input.value = "";
    show(this.#problem, false);
  }

  _take(data) {
    const { from, text } = messageOf(data);
    if (!text) return;
    this._add(from || this._peerName, text.slice(0, MOST_CHARACTERS));
    this._noticed();
  }

  #send() {
    const text = this.#input.value.trim();
    if (!text) return;
    const open = this._channel?.readyState === "open";
    say(this.#problem, open ? "" : "Your message could not be sent. Please try again in a moment.");
    show(this.#problem, !open);
    if (!open) return;
    this._channel.send(JSON.stringify({ text }));
    this._add("You", text);
    this.#input.value = "";
  }
}

/** Text in real time: each key is sent as it is pressed, and what the other side erases goes here, too. */
export class LiveText extends TextPanel {
  #theirs = "";
  #sent = "";
  #live = el("p", { class: "live", "aria-live": "off" });
  #own = el("textarea", { rows: "2", maxlength: String(MOST_CHARACTERS), id: `live-${panels + 1}`, autocomplete: "off" });

  constructor() {
    super("Live text", "typing");
    this.#own.addEventListener("input", (event) => event.isComposing || this.#typed());
    this.#own.addEventListener("compositionend", () => this.#typed());
    this.#own.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      this.#endLine();
    });
    this.element.append(
      this._list, this.#live,
      el("label", { for: this.#own.id, text: "You write, and they see each letter" }), this.#own,
    );
  }

  _focus() {
    this.#own.focus();
  }

  _clear() {
    super._clear();
    this.#theirs = this.#sent = this.#own.value = "";
    this.#showTheirs();
  }

  _take(data) {
    for (const character of data.replaceAll("\r\n", NEW_LINE)) {
      if (character === "\b") this.#theirs = [...this.#theirs].slice(0, -1).join("");
      else if (character === NEW_LINE || character === "\n" || character === "\u2029") this.#endTheirLine();
      else if (!CONTROLS.test(character) && character !== "\ufeff") this.#theirs += character;
      if (this.#theirs.length >= MOST_CHARACTERS) this.#endTheirLine();
    }
    this.#showTheirs();
    this._noticed();
  }

  #endTheirLine() {
    if (this.#theirs) this._add(this._peerName, this.#theirs);
    this.#theirs = "";
  }

  #showTheirs() {
    say(this.#live, this.#theirs);
    show(this.#live, Boolean(this.#theirs));
  }

  #typed() {
    const keys = edits(this.#sent, this.#own.value);
    // What cannot be sent yet is sent with the next key.
    if (!keys || !this.#send(keys)) return;
    this.#sent = this.#own.value;
  }

  #endLine() {
    this.#typed();
    if (this.#sent !== this.#own.value || !this.#sent || !this.#send(NEW_LINE)) return;
    this._add("You", this.#sent);
    this.#own.value = this.#sent = "";
  }

  #send(text) {
    if (this._channel?.readyState !== "open") return false;
    this._channel.send(text);
    return true;
  }
}

/** The keys that make `after` of `before`: erasures from the end, then what is new (T.140: BS erases one character). */
function edits(before, after) {
  const [old, now] = [[...before], [...after.replaceAll("\n", NEW_LINE)]];
  let same = 0;
  while (same < old.length && same < now.length && old[same] === now[same]) same += 1;
  return "\b".repeat(old.length - same) + now.slice(same).join("");
}

/** A message of a page here (JSON), of a phone (JSON with its name), or of another page (plain text). */
function messageOf(data) {
  if (!data.startsWith("{")) return { text: data };
  try {
    const { from, text } = JSON.parse(data);
    return { from: typeof from === "string" ? from : "", text: typeof text === "string" ? text : "" };
  } catch {
    return { text: data };
  }
}
