// The chat of a room: short texts to everybody, over the room's own topic, bounded in length and number.

import { el, say, show } from "./ui.js";

const CHAT_TOPIC = "chat";
const MOST_SHOWN = 200;
const MOST_CHARACTERS = 1000;

export class Chat {
  unread = 0;
  #room;
  #onChange;
  #list = el("ol", { class: "messages", role: "log", "aria-live": "polite", "aria-label": "Messages", tabindex: "0" });
  #empty = el("p", { class: "quiet-text", text: "Nobody has written anything yet." });
  #input = el("input", { id: "message", autocomplete: "off", maxlength: String(MOST_CHARACTERS) });
  #send = el("button", { type: "submit", class: "button primary", text: "Send" });
  #problem = el("p", { class: "status problem", role: "alert", hidden: true });

  constructor(room, { onChange }) {
    this.#room = room;
    this.#onChange = onChange;
    const form = el(
      "form",
      { class: "write", onsubmit: (event) => { event.preventDefault(); this.#say(); } },
      el("label", { for: "message", text: "Message to everybody" }),
      el("div", { class: "row" }, this.#input, this.#send),
      this.#problem,
    );
    this.element = el("div", { class: "chat" }, this.#empty, this.#list, form);
    room.openTopic(CHAT_TOPIC);
    room.addEventListener("said", ({ detail }) => this.#take(detail));
  }

  get open() {
    return this.element.offsetParent !== null;
  }

  render() {
    const may = this.#room.allowed.includes("data");
    this.#input.disabled = this.#send.disabled = !may;
    this.#input.placeholder = may ? "" : "You may read, but not write";
    if (this.open) this.unread = 0;
  }

  focus() {
    (this.#input.disabled ? this.#list : this.#input).focus();
  }

  #say() {
    const text = this.#input.value.trim();
    if (!text) return;
    const sent = this.#room.say(CHAT_TOPIC, JSON.stringify({ text }));
    say(this.#problem, sent ? "" : "Your message could not be sent. Please try again in a moment.");
    show(this.#problem, !sent);
    if (!sent) return;
    this.#input.value = "";
    this.#add("You", text);
  }

  #take({ topic, from, data }) {
    if (topic !== CHAT_TOPIC || typeof data !== "string") return;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // another page's own use of the topic
    }
    if (typeof message?.text !== "string" || !message.text) return;
    const name = this.#room.people.get(from)?.name || "Somebody";
    this.#add(name, message.text.slice(0, MOST_CHARACTERS));
    if (!this.open) this.unread += 1;
    this.#onChange();
  }

  #add(name, text) {
    const near = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 80;
    const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    this.#list.append(
      el("li", { class: name === "You" ? "own" : "" },
        el("p", { class: "from" }, el("b", { text: name }), ` ${time}`), el("p", { class: "text", text })),
    );
    while (this.#list.children.length > MOST_SHOWN) this.#list.firstChild.remove();
    show(this.#empty, false);
    // Who reads further up is not torn away.
    if (near || name === "You") this.#list.scrollTop = this.#list.scrollHeight;
  }
}
