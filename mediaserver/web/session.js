// The WebSocket session: numbered messages both ways, kept until acknowledged, so that a lost socket loses nothing. It
// goes over any of the servers that lead to it; when the one in use is lost, over another one.
//
// Events: "message" (detail: a server message), "waiting" (nobody answers yet, we try on), "away" (the socket is lost, we
// try to resume), "back", "over" (detail: {code, message}; nothing more will come).

import { dial, shuffled } from "./dial.js";

const RESUME_WINDOW_MS = 30_000;
/** So long a first connection is tried for. */
const FIRST_WINDOW_MS = 15_000;
const PING_MS = 5_000;
const SILENCE_MS = 12_000;
/** An answer that is asked for because something else is wrong comes within this time, or the socket is lost. */
const PROBE_MS = 1_000;
const WHY_NOT_MS = 4_000;
const BACKOFF_MS = [100, 300, 700, 1500, 3000];
/** Media cannot come back before the session does. */
const HURRIED_MS = 300;
const ACK_EVERY = 16;
/** Behind one address there may be several who serve: one that cannot says so to whoever shares us out, and the next time
 * we come to another. So often we try, as long as somebody answers. */
const MOST_ELSEWHERE = 4;
/** The server asks for another socket: this one is about to be lost. */
const CLOSE_MOVED = 4002;

// Close codes and error codes after which trying again is of no use.
const FINAL_ERRORS = new Set([
  "bad_hello", "entry", "hello_timeout", "internal", "limit", "link", "origin", "replaced", "resume", "token",
]);

export class Session extends EventTarget {
  /** The server of the page, and others that lead to the same session. */
  #base;
  #others;
  #server = null;
  #hello;
  #socket = null;
  #cancelDial = null;
  #resume = null;
  #welcomed = false;
  #over = false;
  /** The page wants no more of it; what it has said before is still on its way. */
  #closing = false;
  #nextSeq = 1;
  #unacknowledged = [];
  #received = 0;
  #acknowledged = 0;
  #awaySince = 0;
  #attempt = 0;
  #hurried = false;
  #heard = 0;
  #timers = new Set();
  #pinger = 0;
  #began = 0;
  /** How often we were at the wrong one in a row. */
  #elsewhere = 0;

  /** `server` is the server's base URL, `hello` the members of the first message beside type and version; `others` are
   * base URLs by which the server is reached where that one fails. */
  constructor(server, hello, others = []) {
    super();
    this.#base = new URL(server).href.replace(/\/+$/, "");
    this.#others = others;
    this.#hello = hello;
  }

  /** Connect. Messages may be sent at once; they follow `hello` in order. */
  open() {
    this.#began = performance.now();
    this.#connect();
    this.#pinger = setInterval(() => this.#ping(), PING_MS);
    addEventListener("online", this.#online);
    return this;
  }

  /** Send a message, now or as soon as there is a socket again. */
  send(message) {
    if (this.#over || this.#closing) return;
    const entry = { seq: this.#nextSeq++, message };
    this.#unacknowledged.push(entry);
    if (this.#socket?.readyState === WebSocket.OPEN && (this.#welcomed || !this.#resume)) this.#write(entry);
  }

  /** End the session on purpose; what was sent before still arrives, over another socket where this one is lost. No event
   * follows. */
  close() {
    if (this.#over || this.#closing) return;
    this.#closing = true;
    // Where nobody has answered yet, there is nothing to come back to.
    if (!this.#resume || !this.#unacknowledged.length) return this.#closed();
    this.#later(RESUME_WINDOW_MS, () => this.#closed());
    const socket = this.#socket;
    if (!socket) return;
    // An answer to the close frame says that all before it has arrived (RFC 6455 §5.5.1); a close of the server's own has
    // another code, and does not.
    socket.onclose = ({ wasClean, code }) => (wasClean && code === 1000 ? this.#finish(null) : this.#lost(1006));
    socket.close(1000, "closed by the page");
    this.#later(PROBE_MS, () => socket === this.#socket && this.#drop());
  }

  #closed() {
    this.#finish(null);
    this.#socket?.close(1000, "closed by the page");
  }

  /** Something is wrong elsewhere: is the server still there? */
  probe() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || !this.#welcomed || this.#over) return;
    const asked = performance.now();
    socket.send(JSON.stringify({ type: "ping", ack: this.#received }));
    this.#later(PROBE_MS, () => socket === this.#socket && this.#heard < asked && this.#drop());
  }

  /** While it is away: media waits for it, so try more often. Who does not need this leaves the server its time. */
  hurry() {
    this.#hurried = this.#awaySince > 0;
  }

  #connect() {
    this.#welcomed = false;
    const targets = this.#targets().map((server) => ({ server, url: this.#address(server) }));
    this.#cancelDial = dial(targets, (found) => {
      this.#cancelDial = null;
      if (this.#over) found?.socket.close();
      else if (found) this.#opened(found);
      else this.#lost(1006);
    });
  }

  /** The page's own server first, to begin with; then, whoever is left. */
  #targets() {
    const lost = this.#server;
    const others = shuffled(this.#others.filter((server) => server !== this.#base && server !== lost));
    if (!this.#resume) return [this.#base, ...others];
    // The page's own name may lead to any of them, the lost one too; so it comes after those that do not.
    const known = [...others, this.#base, ...(lost === this.#base ? [] : [lost])];
    // Who was sent elsewhere is expected there by the way that led to the wrong one.
    return this.#elsewhere ? [lost, ...known.filter((server) => server !== lost)] : known;
  }

  #address(server) {
    const url = new URL(`${server}/v1/session`);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    // Members of rooms come from pages anywhere: their token is what counts.
    if (this.#hello.role === "member") url.searchParams.set("room", "");
    if (this.#resume) url.searchParams.set("resume", "");
    return url;
  }

  #opened({ socket, server }) {
    this.#socket = socket;
    this.#server = server;
    this.#heard = performance.now();
    socket.onmessage = (event) => {
      if (socket !== this.#socket || this.#over) return;
      this.#heard = performance.now();
      this.#take(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket === this.#socket && !this.#over) this.#lost(event.code);
    };
    const hello = { type: "hello", version: 1, ...this.#hello };
    if (this.#resume) socket.send(JSON.stringify({ ...hello, token: null, resume: this.#resume, ack: this.#received }));
    else {
      socket.send(JSON.stringify(hello));
      for (const entry of this.#unacknowledged) this.#write(entry);
    }
  }

  #write(entry) {
    this.#socket.send(JSON.stringify({ ...entry.message, seq: entry.seq, ack: this.#received }));
    this.#acknowledged = this.#received;
  }

  #take({ seq, ack, ...message }) {
    if (ack !== undefined) this.#unacknowledged = this.#unacknowledged.filter((entry) => entry.seq > ack);
    if (this.#closing && !this.#unacknowledged.length) return this.#closed();
    if (seq !== undefined) {
      if (seq <= this.#received) return;
      this.#received = seq;
      if (this.#received - this.#acknowledged >= ACK_EVERY) this.#ping();
    }
    switch (message.type) {
      case "welcome":
        this.#welcome(message);
        return;
      case "pong":
        return;
      case "servers":
        this.#others = message.servers;
        return;
      case "error":
        if (!seq && FINAL_ERRORS.has(message.code)) return this.#finish(message);
        // The socket is closed behind these words.
        if (!seq && ["draining", "elsewhere"].includes(message.code)) return;
        if (message.code === "replaced") return this.#finish(message);
        break;
    }
    this.#tell("message", message);
  }

  #welcome(message) {
    const resumed = this.#resume !== null;
    this.#resume = message.resume;
    this.#welcomed = true;
    this.#elsewhere = 0;
    this.#attempt = 0;
    this.#awaySince = 0;
    this.#hurried = false;
    this.#others = message.servers ?? [];
    if (resumed) {
      for (const entry of this.#unacknowledged) this.#write(entry);
      this.#ping();
      this.#tell("back");
    } else {
      this.#tell("message", message);
    }
  }

  #ping() {
    if (this.#socket?.readyState === WebSocket.OPEN && this.#welcomed) {
      // A network that vanished without a word is found out by silence.
      if (performance.now() - this.#heard > SILENCE_MS) return this.#drop();
      this.#socket.send(JSON.stringify({ type: "ping", ack: this.#received }));
      this.#acknowledged = this.#received;
    }
  }

  #online = () => {
    // Another network: the old socket may hang for minutes, so a new one takes its place.
    if (this.#resume && !this.#over && this.#socket) this.#drop();
  };

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket.onclose = socket.onmessage = socket.onopen = null;
    socket.close(4000, "silent");
    this.#lost(1006);
  }

  async #lost(code) {
    this.#socket = null;
    if (!this.#resume) return this.#notBegun();
    const now = performance.now();
    if (!this.#awaySince) {
      this.#awaySince = now;
      this.#tell("away");
    }
    if (code === 1000 || now - this.#awaySince > RESUME_WINDOW_MS) {
      this.#finish({ code: code === 1000 ? "closed" : "lost", message: "" });
      return;
    }
    const wrong = code === CLOSE_MOVED && !this.#welcomed;
    if (wrong && ++this.#elsewhere > MOST_ELSEWHERE) this.#finish({ code: "resume", message: "" });
    else this.#again(code === CLOSE_MOVED && this.#elsewhere < 2);
  }

  // Nobody answered, or the answer was no. Only where nobody answers is it of use to try for long.
  async #notBegun() {
    const reason = await this.#whyNot();
    if (this.#over) return;
    if (["draining", "refused"].includes(reason.code) && ++this.#elsewhere < MOST_ELSEWHERE) {
      return this.#again(this.#elsewhere < 2);
    }
    if (reason.code !== "unreachable" || performance.now() - this.#began > FIRST_WINDOW_MS) return this.#finish(reason);
    this.#tell("waiting");
    this.#again();
  }

  // All who were lost in one moment do not come back in one.
  #again(atOnce = false) {
    const longest = this.#hurried ? HURRIED_MS : Infinity;
    const wait = Math.min(BACKOFF_MS[Math.min(this.#attempt++, BACKOFF_MS.length - 1)], longest) * (0.5 + Math.random());
    this.#later(atOnce ? 0 : wait, () => this.#connect());
  }

  #later(wait, act) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#over) act();
    }, wait);
    this.#timers.add(timer);
  }

  // A WebSocket does not tell why its upgrade was refused; the entry or readiness does, where we may ask.
  async #whyNot() {
    const { entry } = this.#hello;
    const url = `${this.#server ?? this.#base}/${entry ? `v1/entries/${encodeURIComponent(entry)}` : "readyz"}`;
    try {
      const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(WHY_NOT_MS) });
      const known = { 403: "origin", 404: "entry", 429: "limit", 503: "draining" }[response.status];
      if (known) return { code: known, message: "" };
      const { open } = await response.json();
      return { code: open === false ? "draining" : "refused", message: "" };
    } catch {
      return { code: "unreachable", message: "" };
    }
  }

  #finish(reason) {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#pinger);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#cancelDial?.();
    removeEventListener("online", this.#online);
    if (reason) this.#tell("over", reason);
  }

  #tell(type, detail) {
    if (!this.#closing) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
