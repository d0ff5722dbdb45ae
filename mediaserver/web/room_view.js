// A room as one sees it: pictures, one line that says how things are, the controls, people and chat beside it.

import { Chat } from "./chat.js";
import { People } from "./people.js";
import { comingsText, permittedText, refusedText } from "./room_words.js";
import { Tiles } from "./tiles.js";
import { busy, button, el, say, show, toggle } from "./ui.js";

const NEWS_MS = 6000;

export class RoomView {
  connected = false;
  #room;
  #devices;
  #tiles;
  #people = new People();
  #chat;
  #trouble = false;
  #soundOnly = false;
  #notice = "";
  #known = null;
  #allowed = null;
  #open = null;
  #newsTimer = 0;
  #working = new Set();
  #closed = false;
  #forget = [];

  #heading = el("h1", {});
  #state = el("p", { class: "state" });
  #status = el("p", { class: "status", role: "status", "aria-live": "polite" });
  #news = el("p", { class: "news", role: "status", "aria-live": "polite" });
  #soundButton = el("button", { type: "button", class: "button primary", text: "Turn sound on", hidden: true, onclick: () => this.#tiles.play() });
  #muteButton = button("Mute", "mute", "control", () => this.#toggleVoice());
  #cameraButton = button("Camera", "call", "control", () => this.#toggleDevice("camera"));
  #screenButton = button("Share screen", "screen", "control", () => this.#toggleDevice("screen"));
  #peopleButton = button("People", "people", "control", () => this.#toggleSide("people"));
  #chatButton = button("Chat", "chat", "control", () => this.#toggleSide("chat"));
  #leaveButton;
  #sideHeading = el("h2", { id: "side-heading" });
  #sideBody = el("div", { class: "side-body" });
  #side;

  /** `onLeave` is called when somebody presses Leave. */
  constructor({ room, devices, onLeave }) {
    this.#room = room;
    this.#devices = devices;
    this.#tiles = new Tiles({
      onPin: (participant, kind) => {
        room.subscribe(participant ? [{ participant, kind }] : []);
        this.render();
      },
      onBlocked: (blocked) => show(this.#soundButton, blocked),
    });
    this.#chat = new Chat(room, { onChange: () => this.render() });
    this.#leaveButton = button("Leave", "hangup", "control danger", onLeave);
    for (const one of [this.#peopleButton, this.#chatButton]) one.setAttribute("aria-controls", "side");
    const closeButton = button("Close", "close", "icon-only", () => this.#toggleSide(this.#open));
    this.#side = el(
      "aside",
      { class: "side card", id: "side", "aria-labelledby": "side-heading", hidden: true, onkeydown: (event) => this.#sideKey(event) },
      el("div", { class: "side-head" }, this.#sideHeading, closeButton),
      this.#sideBody,
    );
    this.element = el(
      "div",
      { class: "room-view" },
      el("header", { class: "bar" }, this.#heading, this.#state),
      el("div", { class: "scene" },
        el("section", { class: "pictures", "aria-label": "Pictures" }, this.#tiles.element, this.#soundButton),
        this.#side),
      el("div", { class: "messages-line" }, this.#status, this.#news),
      el("div", { class: "controls room-controls", role: "toolbar", "aria-label": "Room" },
        this.#muteButton, this.#cameraButton, this.#screenButton, this.#peopleButton, this.#chatButton, this.#leaveButton),
    );
    this.#listen(devices, "change", () => this.#devicesChanged());
    this.#listen(room, "change", () => this.render());
    this.#listen(room, "connected", () => {
      if (!this.connected) this.#muteButton.focus();
      this.connected = true;
      this.#trouble = false;
      this.render();
    });
    this.#listen(room, "trouble", () => { this.#trouble = true; this.render(); });
    this.#listen(room, "refused", ({ detail }) => this.#refused(detail));
    this.#listen(room, "problem", ({ detail }) => { this.#notice = detail.message; this.render(); });
  }

  /** Show what the devices have so far, before the room is opened. */
  async begin() {
    this.#notice = this.#devices.problem;
    if (this.#notice) this.#notice += " You are in the room without it.";
    await this.#publish();
    this.render();
    this.#leaveButton.focus();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#newsTimer);
    for (const forget of this.#forget) forget();
    this.#tiles.close();
  }

  render() {
    if (this.#closed) return;
    const { info, allowed, people } = this.#room;
    const devices = this.#devices;
    say(this.#heading, info ? `Room ${info.name}` : "Room");
    document.title = info ? `Room ${info.name}` : "Room";
    this.#tellComings();
    this.#tellPermissions();
    this.#tiles.render(this.#room, devices);
    this.#people.render(this.#room, devices);
    this.#chat.render();
    say(this.#state, `${people.size + 1} in the room`);
    show(this.#state, this.connected);
    const text = this.#statusText();
    say(this.#status, text);
    this.#status.classList.toggle("problem", Boolean(this.#notice) || this.#trouble || this.#room.away);
    const may = (kind) => !info || allowed.includes(kind);
    toggle(this.#muteButton, !devices.voice);
    toggle(this.#cameraButton, Boolean(devices.camera));
    toggle(this.#screenButton, Boolean(devices.screen));
    busy(this.#muteButton, !may("audio") || this.#working.has("microphone"));
    busy(this.#cameraButton, !may("video") || this.#soundOnly || this.#working.has("camera"));
    busy(this.#screenButton, !may("screen") || this.#soundOnly || this.#working.has("screen"));
    show(this.#screenButton, devices.canShare);
    for (const [name, one] of [["people", this.#peopleButton], ["chat", this.#chatButton]]) {
      one.setAttribute("aria-expanded", String(this.#open === name));
    }
    say(this.#peopleButton.lastChild, `People (${people.size + 1})`);
    say(this.#chatButton.lastChild, this.#chat.unread ? `Chat (${this.#chat.unread} new)` : "Chat");
    this.#chatButton.classList.toggle("accent", this.#chat.unread > 0);
  }

  // -- what one shows ------------------------------------------------------------------------------------------------

  async #toggleVoice() {
    const devices = this.#devices;
    if (this.#says("audio", "You may not speak in this room.")) return;
    this.#notice = "";
    if (devices.microphone) {
      devices.setMuted(!devices.muted);
      return;
    }
    devices.muted = false;
    await this.#work("microphone", () => devices.openMicrophone());
  }

  async #toggleDevice(name) {
    const devices = this.#devices;
    const kind = name === "camera" ? "video" : "screen";
    if (this.#says(kind, refusedText(kind, "not_permitted"))) return;
    if (this.#soundOnly && !devices[name]) {
      this.#notice = refusedText("video", "bandwidth");
      return this.render();
    }
    this.#notice = "";
    if (devices[name]) devices.close(name);
    else await this.#work(name, () => (name === "camera" ? devices.openCamera() : devices.openScreen()));
  }

  #says(kind, text) {
    if (!this.#room.info || this.#room.allowed.includes(kind)) return false;
    this.#notice = text;
    this.render();
    return true;
  }

  async #work(name, step) {
    if (this.#working.has(name)) return;
    this.#working.add(name);
    this.render();
    await step();
    this.#working.delete(name);
    this.render();
  }

  async #devicesChanged() {
    if (this.#devices.problem) this.#notice = this.#devices.problem;
    this.render();
    await this.#publish();
  }

  async #publish() {
    const { voice, camera, screen } = this.#devices;
    for (const [kind, track] of [["audio", voice], ["video", camera], ["screen", screen]]) {
      if (this.#closed) return;
      await this.#room.publish(kind, track);
    }
  }

  #refused(reasons) {
    if (reasons.received === "bandwidth" || reasons.video === "bandwidth") {
      this.#soundOnly = true;
      this.#devices.close("camera");
    }
    if (reasons.screen) this.#devices.close("screen");
    const texts = Object.entries(reasons).map(([kind, reason]) => refusedText(kind, reason));
    // Who never asked to show anything need not hear that it is not allowed.
    this.#notice = [...new Set(texts.filter((text, index) => Object.values(reasons)[index] === "bandwidth"))].join(" ");
    this.render();
  }

  // -- what is said --------------------------------------------------------------------------------------------------

  #statusText() {
    if (this.#room.away) return "The connection was interrupted. Reconnecting …";
    if (this.#trouble) return "The connection is weak. Trying another way …";
    if (this.#notice) return this.#notice;
    if (!this.connected) return "Connecting …";
    if (this.#room.quality === "bad") return "Your connection is poor at the moment.";
    if (!this.#room.people.size) return "You are the first one here.";
    return this.#devices.voice ? "" : "You are muted.";
  }

  #tellComings() {
    const { info, people } = this.#room;
    if (!info || !this.connected) return;
    const names = new Map([...people.values()].map(({ id, name }) => [id, name || "Somebody"]));
    const before = this.#known ?? names;
    this.#known = names;
    const came = [...names].filter(([id]) => !before.has(id)).map(([, name]) => name);
    const left = [...before].filter(([id]) => !names.has(id)).map(([, name]) => name);
    if (came.length || left.length) this.#tell(comingsText(came, left));
  }

  #tellPermissions() {
    const { info, allowed } = this.#room;
    if (!info) return;
    const before = this.#allowed;
    this.#allowed = [...allowed];
    if (before === null) this.#tellForbidden(allowed);
    const text = permittedText(before ?? allowed, allowed);
    if (!text) return;
    this.#tell(text);
    if (!allowed.includes("video")) this.#devices.close("camera");
    if (!allowed.includes("screen")) this.#devices.close("screen");
  }

  // What was made ready in front of the door and may not be shown behind it.
  #tellForbidden(allowed) {
    const { microphone, camera } = this.#devices;
    const ready = [["audio", microphone], ["video", camera]].filter(([, track]) => track).map(([kind]) => kind);
    const forbidden = ready.filter((kind) => !allowed.includes(kind));
    if (!forbidden.length) return;
    this.#notice = forbidden.map((kind) => refusedText(kind, "not_permitted")).join(" ");
    if (forbidden.includes("video")) this.#devices.close("camera");
  }

  #tell(text) {
    say(this.#news, text);
    clearTimeout(this.#newsTimer);
    this.#newsTimer = setTimeout(() => say(this.#news, ""), NEWS_MS);
  }

  // -- beside the pictures -------------------------------------------------------------------------------------------

  #toggleSide(name) {
    const closing = this.#open === name;
    const opener = this.#open === "chat" ? this.#chatButton : this.#peopleButton;
    this.#open = closing ? null : name;
    this.element.classList.toggle("with-side", !closing);
    show(this.#side, !closing);
    if (closing) {
      this.render();
      return opener.focus();
    }
    const content = name === "chat" ? this.#chat : this.#people;
    say(this.#sideHeading, name === "chat" ? "Chat" : "People");
    this.#sideBody.replaceChildren(content.element);
    this.render();
    content.focus();
  }

  #sideKey(event) {
    if (event.key === "Escape") this.#toggleSide(this.#open);
  }

  #listen(target, type, listener) {
    target.addEventListener(type, listener);
    this.#forget.push(() => target.removeEventListener(type, listener));
  }
}
