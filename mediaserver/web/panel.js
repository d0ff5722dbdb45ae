// What a caller sees and presses; the same on the caller page and inside the widget.

import { Call } from "./call.js";
import { Stage } from "./stage.js";
import { CallChat, LiveText } from "./texts.js";
import { busy, button, el, say, show, toggle } from "./ui.js";

const STATUS = {
  starting: "Connecting …",
  queued: "You are in the queue. Please stay on the line.",
  ringing: "We are calling somebody for you …",
  announcement: "Please stay on the line, somebody will be with you shortly.",
  held: "You are on hold. Please stay on the line.",
};

const NO_PICTURE = {
  bandwidth: " There is not enough bandwidth for a picture.",
  size: " Their phone cannot show your camera's picture.",
};

export class CallPanel {
  #call;
  #onClose;
  #stage = new Stage();
  #heading = el("h2", { class: "heading" });
  #status = el("p", { class: "status", role: "status", "aria-live": "polite" });
  #consent = el("p", { class: "consent", id: "consent-text" });
  #startButton = button("Video call", "call", "primary", () => this.start());
  #muteButton = button("Mute", "mute", "control", () => this.#call.toggleMute());
  #showButton = button("Show my camera", "call", "control accent", () => this.#call.showCamera());
  #cameraButton = button("Camera", "call", "control", () => this.#call.toggleCamera());
  #hangUpButton = button("Hang up", "hangup", "control danger", () => this.#call.hangUp());
  #chat = new CallChat();
  #liveText = new LiveText();
  #closeButton = button("Close", "close", "icon-only", () => this.#onClose?.());

  /** `options` as for Call, and: title, consentText; `onClose` puts a Close button there. */
  constructor(options, { onClose = null } = {}) {
    this.#call = new Call(options);
    this.#onClose = onClose;
    this.#showButton.setAttribute("aria-describedby", "consent-text");
    say(this.#consent, options.consentText);
    say(this.#heading, options.title ?? "");
    const head = el("div", { class: "head" }, this.#heading);
    if (onClose) head.append(this.#closeButton);
    this.element = el(
      "section",
      { class: "panel", "aria-label": "Call" },
      head,
      this.#stage.element,
      el(
        "div",
        { class: "foot" },
        this.#status,
        this.#consent,
        el(
          "div",
          { class: "controls" },
          this.#startButton, this.#muteButton, this.#showButton, this.#cameraButton, this.#chat.button,
          this.#liveText.button, this.#hangUpButton,
        ),
        this.#liveText.element,
        this.#chat.element,
      ),
    );
    this.#call.addEventListener("change", () => this.#render());
    // A page that goes away ends its call at once; the other side need not wait for it.
    addEventListener("pagehide", () => this.#call.hangUp());
    this.#render();
  }

  get call() {
    return this.#call;
  }

  start() {
    return this.#call.start();
  }

  focus() {
    (this.#call.active ? this.#hangUpButton : this.#startButton).focus();
  }

  #render() {
    const call = this.#call;
    const { active, phase } = call;
    const focused = this.element.getRootNode().activeElement;
    show(this.#heading, Boolean(this.#heading.textContent));
    this.element.dataset.phase = phase;
    this.#stage.setRemote(call.remote);
    this.#stage.setLocal(call.localVideo);
    this.#stage.setRunning(phase === "connected" || phase === "held");
    this.#stage.setCaption(this.#caption(), { pulsing: phase === "starting" || phase === "waiting" });
    say(this.#status, this.#statusText());
    this.#status.classList.toggle("problem", Boolean(call.problem) || call.unreached || call.away || call.trouble);
    const mayShow = active && call.maySendVideo && !call.consented;
    show(this.#consent, mayShow);
    show(this.#startButton, !active);
    show(this.#muteButton, active && !call.silent);
    show(this.#showButton, mayShow);
    show(this.#cameraButton, active && call.consented);
    show(this.#hangUpButton, active);
    busy(this.#showButton, call.cameraBusy);
    busy(this.#cameraButton, call.cameraBusy);
    toggle(this.#muteButton, call.muted);
    toggle(this.#cameraButton, call.cameraOn);
    const talking = phase === "connected" || phase === "held";
    this.#chat.render({ offered: talking, channel: call.chatChannel, peerName: call.peerName });
    this.#liveText.render({ offered: talking && call.liveText, channel: call.typingChannel, peerName: call.peerName });
    this.#moveFocus(focused, call);
  }

  // A button that goes away under the keyboard's focus hands it to the one that takes its place.
  #moveFocus(focused, call) {
    if (!focused?.closest("[hidden]")) return;
    if (focused === this.#startButton) this.#hangUpButton.focus();
    else if (focused === this.#showButton && call.consented) this.#cameraButton.focus();
    else if (call.active) this.#hangUpButton.focus();
    else this.#startButton.focus();
  }

  #caption() {
    const { phase, peerName } = this.#call;
    if (phase === "connected") return peerName || "Connected";
    if (phase === "idle") return this.#call.silent ? "Bring a picture into your phone call" : "Talk to us by sound and picture";
    return { starting: "Connecting", waiting: "Please wait", held: "On hold", ended: "Call ended" }[phase];
  }

  #statusText() {
    const call = this.#call;
    if (call.active && call.unreached) return "Our server cannot be reached at the moment. Trying again …";
    if (call.active && call.away) return "The connection was interrupted. Reconnecting …";
    if (call.active && call.trouble) return "The connection is weak. Trying another way …";
    if (call.problem) return call.problem;
    switch (call.phase) {
      case "idle":
        return "";
      case "ended":
        return call.detail;
      case "connected":
        return (call.peerName ? `You are talking to ${call.peerName}.` : "You are connected.") +
          (NO_PICTURE[call.videoReason] ?? "") +
          (call.quality === "bad" ? " Your connection is poor at the moment." : "");
      default:
        return STATUS[call.state] ?? STATUS[call.phase] ?? STATUS.announcement;
    }
  }
}
