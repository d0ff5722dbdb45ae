// The line test as a person sees it: what is tried, camera and microphone, a verdict.

import { LineTest } from "./line_test.js";
import { bitrate, percent, verdict, wayName } from "./line_verdict.js";
import { Level } from "./level.js";
import { AUDIO, VIDEO, capture, deviceProblem } from "./peer.js";
import { busy, button, el, say, show } from "./ui.js";

const MARKS = { works: "works", fails: "blocked", trying: "trying …", waiting: "" };

export class LineView {
  #test;
  #level = new Level();
  #streams = [];
  #devices = { microphone: null, camera: null };
  #asked = false;
  #run = 0;
  #startButton = el("button", { type: "button", class: "button primary", onclick: () => this.start() }, el("span", { class: "label" }));
  #closeButton;
  #verdict = el("div", { class: "verdict", role: "status", "aria-live": "polite" });
  #line = el("dl", { class: "results" });
  #own = el("dl", { class: "results" });
  #rows = new Map();
  #picture = el("video", { class: "preview", playsinline: true, autoplay: true, "aria-label": "Your camera's picture", hidden: true });

  /** `who` as for LineTest; `onClose` puts a Close button there. */
  constructor(server, who, { onClose = null } = {}) {
    this.#test = new LineTest(server, who);
    this.#picture.muted = true;
    this.#closeButton = button("Close", "close", "control", () => {
      this.stop();
      onClose?.();
    });
    show(this.#closeButton, Boolean(onClose));
    this.element = el(
      "section",
      { class: "card line-test", "aria-labelledby": "line-title" },
      el("h2", { id: "line-title", text: "Test your line" }),
      el("p", { class: "about-test", text: "It takes some seconds. Camera and microphone are tried on this device alone: nothing of them is sent." }),
      el("div", { class: "controls" }, this.#startButton, this.#closeButton),
      this.#verdict,
      this.#line,
      this.#own,
      this.#picture,
    );
    this.#test.addEventListener("change", () => this.#render());
    this.#level.addEventListener("change", () => this.#render());
    this.#render();
  }

  focus() {
    this.#startButton.focus();
  }

  async start() {
    if (this.#running) return;
    this.#releaseDevices();
    const run = ++this.#run;
    this.#asked = true;
    await Promise.all([this.#test.start(), this.#tryDevices(run)]);
  }

  /** End what runs, and give camera and microphone back. */
  stop() {
    this.#run++;
    this.#asked = false;
    if (this.#test.phase === "running") this.#test.stop();
    this.#releaseDevices();
    this.#render();
  }

  get #running() {
    return this.#test.phase === "running" || (this.#asked && Object.values(this.#devices).includes(null));
  }

  async #tryDevices(run) {
    // One question of the browser after the other, so that each can be answered by itself.
    for (const [name, constraints] of [["microphone", { audio: AUDIO }], ["camera", { video: VIDEO }]]) {
      let result = false;
      let text = "";
      try {
        const stream = await capture(constraints);
        if (run !== this.#run) return release(stream);
        this.#streams.push(stream);
        result = true;
        text = stream.getTracks()[0].label || "found";
        if (name === "microphone") this.#level.listen(stream);
        else this.#picture.srcObject = stream;
      } catch (error) {
        if (run !== this.#run) return;
        text = deviceProblem(error, name);
      }
      this.#devices[name] = result;
      this.#row(this.#own, name, name === "camera" ? "Camera" : "Microphone", text, result ? "good" : "bad");
      this.#render();
    }
  }

  #releaseDevices() {
    this.#level.stop();
    for (const stream of this.#streams) release(stream);
    this.#streams = [];
    this.#picture.srcObject = null;
    Object.assign(this.#devices, { microphone: null, camera: null });
    this.#line.replaceChildren();
    this.#own.replaceChildren();
    this.#rows.clear();
  }

  #render() {
    const test = this.#test;
    show(this.#picture, Boolean(this.#picture.srcObject));
    busy(this.#startButton, this.#running);
    say(this.#startButton.querySelector(".label"), test.phase === "idle" ? "Start the test" : this.#running ? "Testing …" : "Test again");
    for (const { name, state } of test.ways) {
      this.#row(this.#line, `way ${name}`, wayName(name), MARKS[state], { works: "good", fails: "bad" }[state] ?? "");
    }
    const { quality, speed } = test;
    if (quality?.rttMs != null) this.#row(this.#line, "rtt", "Round trip", `${Math.round(quality.rttMs)} ms`, quality.rttMs > 300 ? "bad" : "good");
    if (quality) this.#row(this.#line, "loss", "Lost", percent(quality.loss), quality.loss > 0.03 ? "bad" : "good");
    if (speed) this.#row(this.#line, "speed", "Speed both ways", `${speed.enough ? "at least " : ""}${bitrate(speed.bps)}`, speed.enough ? "good" : "");
    if (this.#devices.microphone) {
      const { heard } = this.#level;
      this.#row(this.#own, "heard", "Your voice", heard ? "heard" : "not heard yet: say something", heard ? "good" : "");
    }
    for (const list of [this.#line, this.#own]) show(list, list.childElementCount > 0);
    this.#renderVerdict();
  }

  #renderVerdict() {
    const finished = this.#asked && !this.#running;
    const found = finished ? verdict(this.#test, this.#devices) : null;
    const key = JSON.stringify([found, this.#running]);
    if (this.#verdict.dataset.key === key) return;
    this.#verdict.dataset.key = key;
    this.#verdict.dataset.level = found?.level ?? "";
    show(this.#verdict, this.#asked);
    if (!found) {
      this.#verdict.replaceChildren(...(this.#asked ? [el("p", { text: "The test runs …" })] : []));
      return;
    }
    const reasons = found.reasons.map((text) => el("li", { text }));
    this.#verdict.replaceChildren(el("p", { class: "sentence", text: found.text }), ...(reasons.length ? [el("ul", {}, ...reasons)] : []));
  }

  #row(list, key, name, text, level) {
    let row = this.#rows.get(key);
    if (!row) {
      row = el("dd", {});
      this.#rows.set(key, row);
      list.append(el("dt", { text: name }), row);
    }
    say(row, text);
    row.className = level;
  }
}

function release(stream) {
  for (const track of stream.getTracks()) track.stop();
}
