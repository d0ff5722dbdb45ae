// The picture area: the other side large, oneself small, and a calm surface where there is no picture.

import { el, icon, say, show } from "./ui.js";

export class Stage {
  #remote = el("video", { class: "remote", playsinline: true, autoplay: true, "aria-label": "Picture of the other side" });
  #local = el("video", { class: "local", playsinline: true, autoplay: true, "aria-label": "Your own picture", hidden: true });
  #caption = el("p", { class: "caption", "aria-hidden": "true" });
  #placeholder = el("div", { class: "placeholder" }, el("span", { class: "avatar" }, icon("person")), this.#caption);
  #clock = el("p", { class: "clock", "aria-hidden": "true", hidden: true });
  #sound = el("button", { type: "button", class: "button quiet sound", text: "Turn sound on", hidden: true });
  #watched = new Set();
  #since = 0;
  #ticker = 0;

  constructor() {
    this.#local.muted = true;
    this.element = el("div", { class: "stage" }, this.#remote, this.#placeholder, this.#local, this.#clock, this.#sound);
    this.#remote.addEventListener("resize", () => this.#refresh());
    this.#remote.addEventListener("loadeddata", () => this.#refresh());
    this.#sound.addEventListener("click", () => this.#play());
  }

  /** The stream of the other side, or null. */
  setRemote(stream) {
    if (this.#remote.srcObject !== stream) {
      this.#remote.srcObject = stream;
      this.#watched.clear();
    }
    for (const track of stream?.getTracks() ?? []) {
      if (this.#watched.has(track)) continue;
      this.#watched.add(track);
      track.addEventListener("mute", () => this.#refresh());
      track.addEventListener("unmute", () => this.#refresh());
      this.#play();
    }
    if (!stream) show(this.#sound, false);
    this.#refresh();
  }

  /** One's own picture, or null. */
  setLocal(stream) {
    if (this.#local.srcObject !== stream) this.#local.srcObject = stream;
    show(this.#local, Boolean(stream));
  }

  /** What stands where there is no picture. */
  setCaption(text, { pulsing = false } = {}) {
    say(this.#caption, text);
    this.#placeholder.classList.toggle("pulsing", pulsing);
  }

  /** Whether the clock of the conversation runs. */
  setRunning(running) {
    if (running === Boolean(this.#ticker)) return;
    clearInterval(this.#ticker);
    this.#ticker = 0;
    show(this.#clock, running);
    if (!running) return;
    this.#since = Date.now();
    const tick = () => {
      const seconds = Math.floor((Date.now() - this.#since) / 1000);
      say(this.#clock, `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
    };
    this.#ticker = setInterval(tick, 1000);
    tick();
  }

  async #play() {
    try {
      await this.#remote.play();
      show(this.#sound, false);
    } catch (error) {
      // A browser that plays nothing without a further gesture gets one.
      if (error.name === "NotAllowedError") show(this.#sound, true);
    }
  }

  #refresh() {
    const track = this.#remote.srcObject?.getVideoTracks()[0];
    const picture = Boolean(track) && !track.muted && track.readyState === "live" && this.#remote.videoWidth > 2;
    this.element.classList.toggle("picture", picture);
  }
}
