// The pictures of a room: screens first, then cameras, then those without a picture, and oneself at the end.

import { el, icon, say, show, toggle } from "./ui.js";

const STILL_AFTER_MS = 4000;
const CHECK_MS = 1000;
/** Of those without a picture no more than these have a tile; everybody is in the list of people. */
const MOST_WITHOUT_PICTURE = 6;

class Tile {
  #video = el("video", { playsinline: true, autoplay: true, hidden: true });
  #name = el("span", { class: "who" });
  #muted = icon("muted");
  #note = el("p", { class: "note", hidden: true });
  #pin;
  #track = null;
  #frames = 0;
  #movedAt = 0;

  constructor({ mirrored = false, onPin = null } = {}) {
    this.#video.muted = true;
    this.#video.classList.toggle("mirrored", mirrored);
    this.#pin = onPin && el("button", { type: "button", class: "button pin", onclick: onPin }, icon("pin"), el("span", { class: "label" }));
    this.element = el(
      "li",
      { class: "tile" },
      el("span", { class: "avatar" }, icon("person")),
      this.#video,
      this.#note,
      el("p", { class: "plate" }, this.#muted, this.#name),
      ...(this.#pin ? [this.#pin] : []),
    );
  }

  /** `track` null is no picture; `shared` a screen. */
  render({ name, track, speaking, muted, shared, pinned }) {
    if (track !== this.#track) {
      this.#track = track;
      this.#video.srcObject = track ? new MediaStream([track]) : null;
      this.#movedAt = performance.now();
      this.#appear();
    }
    say(this.#name, shared ? `${name}: screen` : name);
    this.#video.setAttribute("aria-label", shared ? `Screen of ${name}` : `Picture of ${name}`);
    this.#muted.toggleAttribute("hidden", !muted);
    this.element.classList.toggle("speaking", Boolean(speaking));
    this.element.classList.toggle("screen", Boolean(shared));
    this.element.classList.toggle("pinned", Boolean(pinned));
    if (this.#pin) {
      say(this.#pin.lastChild, `Show ${shared ? `the screen of ${name}` : name} large`);
      toggle(this.#pin, pinned);
      show(this.#pin, Boolean(track));
    }
  }

  /** Somebody else's frames follow on the same track: the last one before is not shown under the new name. */
  #appear() {
    show(this.#video, Boolean(this.#track));
    this.#video.classList.add("waiting");
    if (!this.#track) return;
    const wanted = this.#track;
    const arrived = () => this.#video.classList.toggle("waiting", this.#track !== wanted);
    if ("requestVideoFrameCallback" in this.#video) this.#video.requestVideoFrameCallback(arrived);
    else this.#video.addEventListener("loadeddata", arrived, { once: true });
  }

  /** Says so where a picture stands still: the server pauses what the line does not carry. */
  check(now) {
    const frames = this.#video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
    if (frames !== this.#frames || !this.#track) this.#movedAt = now;
    this.#frames = frames;
    const still = Boolean(this.#track) && now - this.#movedAt > STILL_AFTER_MS;
    say(this.#note, still ? "The picture pauses: not enough bandwidth" : "");
    show(this.#note, still);
  }

  close() {
    this.#video.srcObject = null;
  }
}

export class Tiles {
  #tiles = new Map();
  #own = new Tile({ mirrored: true });
  #ownScreen = new Tile();
  #sounds = new Map();
  #onPin;
  #timer;
  #pinned = null;
  #blocked;

  /** `onPin(participant, kind)` says whom somebody wants to see large, or nobody (null); `onBlocked(blocked)` that the
   * browser plays no sound without another press of a button. */
  constructor({ onPin, onBlocked }) {
    this.#onPin = onPin;
    this.#blocked = onBlocked;
    this.element = el("ul", { class: "tiles", "aria-label": "Pictures" });
    this.#timer = setInterval(() => {
      for (const tile of this.#tiles.values()) tile.check(performance.now());
    }, CHECK_MS);
  }

  render(room, devices) {
    this.#hear(room);
    const shown = this.#shown(room);
    const order = shown.map(([key, state]) => {
      if (!this.#tiles.has(key)) this.#tiles.set(key, new Tile({ onPin: () => this.#pin(state.id, state.kind) }));
      const tile = this.#tiles.get(key);
      tile.render({ ...state, pinned: this.#pinned === key });
      return tile.element;
    });
    const keys = new Set(shown.map(([key]) => key));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      tile.close();
      this.#tiles.delete(key);
    }
    if (this.#pinned !== null && !room.people.has(this.#pinned.split(" ")[0])) this.#pin(...this.#pinned.split(" "));
    const me = room.info?.participant;
    this.#own.render({ name: "You", track: devices.camera, muted: !devices.voice, speaking: room.speaking.has(me) });
    this.#ownScreen.render({ name: "Your screen", track: devices.screen });
    if (devices.screen) order.unshift(this.#ownScreen.element);
    order.push(this.#own.element);
    const large = shown.some(([key, state]) => state.shared || key === this.#pinned);
    this.element.classList.toggle("with-large", large);
    this.element.dataset.count = String(Math.min(order.length, 9));
    // What stands where it should is not touched: it may have the keyboard's focus.
    order.forEach((element, index) => {
      if (this.element.children[index] !== element) this.element.insertBefore(element, this.element.children[index] ?? null);
    });
    while (this.element.children.length > order.length) this.element.lastChild.remove();
  }

  /** Play every sound, in answer to a press. */
  async play() {
    const played = await Promise.allSettled([...this.#sounds.values()].map((sound) => sound.play()));
    this.#blocked(played.some(({ reason }) => reason?.name === "NotAllowedError"));
  }

  close() {
    clearInterval(this.#timer);
    for (const tile of [...this.#tiles.values(), this.#own, this.#ownScreen]) tile.close();
    for (const sound of this.#sounds.values()) sound.srcObject = null;
  }

  // [key, state] of everybody but oneself, in order.
  #shown(room) {
    const state = (id, kind, track) => {
      const person = room.people.get(id);
      return [`${id} ${kind}`, {
        id, kind, track, name: person?.name || "Somebody", shared: kind === "screen",
        muted: !person?.publishes.includes("audio"), speaking: kind === "video" && room.speaking.has(id),
      }];
    };
    const slots = [...room.slots.values()].filter((slot) => slot.participant && slot.kind !== "audio");
    const pictures = slots.map((slot) => state(slot.participant, slot.kind, slot.track));
    const seen = new Set(slots.filter((slot) => slot.kind === "video").map((slot) => slot.participant));
    const others = [...room.people.values()].filter((person) => !seen.has(person.id) && person.member);
    others.sort((one, two) => Number(room.speaking.has(two.id)) - Number(room.speaking.has(one.id)));
    const faces = others.slice(0, MOST_WITHOUT_PICTURE).map((person) => state(person.id, "video", null));
    const rank = ([key, { shared }]) => (key === this.#pinned ? 0 : shared ? 1 : 2);
    return [...pictures.sort((one, two) => rank(one) - rank(two)), ...faces];
  }

  #pin(id, kind) {
    const key = `${id} ${kind}`;
    this.#pinned = this.#pinned === key ? null : key;
    if (this.#pinned) this.#onPin(id, kind);
    else this.#onPin(null, null);
  }

  // One element for each slot of sound, made once; whose voice it is does not matter to the browser.
  #hear(room) {
    for (const { mid, track, kind, participant } of room.slots.values()) {
      if (this.#sounds.has(mid) || kind !== "audio" || !participant || !track) continue;
      const sound = new Audio();
      sound.srcObject = new MediaStream([track]);
      this.#sounds.set(mid, sound);
      this.play();
    }
  }
}
