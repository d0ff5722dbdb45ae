// One's own microphone, camera and screen. Nothing is captured before somebody asks for it.
//
// Events: "change" (anything below; a device that is pulled out, too).

import { AUDIO, VIDEO, capture, deviceProblem } from "./peer.js";

export class Devices extends EventTarget {
  /** Tracks, or null. A microphone that is muted stays open, so that the first word after it is heard whole. */
  microphone = null;
  camera = null;
  screen = null;
  muted = false;
  /** The last sentence for a person about a device that cannot be had. */
  problem = "";

  /** Whether this browser can share a screen; telephones cannot. */
  get canShare() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /** The track that is to be heard, or null. */
  get voice() {
    return this.muted ? null : this.microphone;
  }

  async openMicrophone() {
    return this.#open("microphone", () => capture({ audio: AUDIO }));
  }

  async openCamera() {
    return this.#open("camera", () => capture({ video: VIDEO }));
  }

  async openScreen() {
    const options = { video: { frameRate: { max: 15 } }, audio: false };
    return this.#open("screen", () => navigator.mediaDevices.getDisplayMedia(options));
  }

  setMuted(muted) {
    this.muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
    this.#changed();
  }

  /** Close the microphone, the camera or the screen. */
  close(name) {
    this[name]?.stop();
    this[name] = null;
    this.#changed();
  }

  /** Close everything. */
  release() {
    this.problem = "";
    for (const name of ["microphone", "camera", "screen"]) this.close(name);
  }

  async #open(name, ask) {
    this.problem = "";
    if (this[name]?.readyState === "live") return true;
    try {
      const [track] = (await ask()).getTracks();
      this[name] = track;
      if (name === "microphone") track.enabled = !this.muted;
      // Text must stay sharp; the frames per second may suffer.
      if (name === "screen" && "contentHint" in track) track.contentHint = "detail";
      track.addEventListener("ended", () => this.#ended(name, track));
    } catch (error) {
      // Who closes the browser's own question about the screen knows why there is none.
      if (!(name === "screen" && error.name === "NotAllowedError")) this.problem = deviceProblem(error, name);
    }
    this.#changed();
    return this[name] !== null;
  }

  #ended(name, track) {
    if (this[name] !== track) return;
    this[name] = null;
    if (name !== "screen") this.problem = `The ${name} was disconnected.`;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
