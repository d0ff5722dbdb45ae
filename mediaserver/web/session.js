// The WebSocket session: numbered messages both ways, kept until acknowledged, so that a lost socket loses nothing.
//
// Events: "message" (detail: a server message), "away" (the socket is lost, we try to resume), "back",
// "over" (detail: {code, message}; nothing more will come).

const RESUME_WINDOW_MS = 30_000;
const PING_MS = 10_000;
const SILENCE_MS = 25_000;
const BACKOFF_MS = [100, 300, 700, 1500, 3000];
const ACK_EVERY = 16;

// Close codes and error codes after which trying again is of no use.
const FINAL_ERRORS = new Set([
  "bad_hello", "draining", "entry", "hello_timeout", "internal", "limit", "link", "origin", "replaced", "resume", "token",
]);

export class Session extends EventTarget {
  #url;
  #hello;
  #socket = null;
  #resume = null;
  #welcomed = false;
  #over = false;
  #nextSeq = 1;
  #unacknowledged = [];
  #received = 0;
  #acknowledged = 0;
  #awaySince = 0;
  #attempt = 0;
  #heard = 0;
  #timers = new Set();
  #pinger = 0;

  /** `server` is the server's base URL, `hello` the members of the first message beside type and version. */
  constructor(server, hello) {
    super();
    const url = new URL("/v1/session", server);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    // Members of rooms come from pages anywhere: their token is what counts.
    if (hello.role === "member") url.search = "?room";
    this.#url = url;
    this.#hello = hello;
  }

  /** Connect. Messages may be sent at once; they follow `hello` in order. */
  open() {
    this.#connect();
    this.#pinger = setInterval(() => this.#ping(), PING_MS);
    addEventListener("online", this.#online);
    return this;
  }

  /** Send a message, now or as soon as there is a socket again. */
  send(message) {
    if (this.#over) return;
    const entry = { seq: this.#nextSeq++, message };
    this.#unacknowledged.push(entry);
    if (this.#socket?.readyState === WebSocket.OPEN && (this.#welcomed || !this.#resume)) this.#write(entry);
  }

  /** End the session on purpose; what was sent before still arrives. */
  close() {
    if (this.#over) return;
    this.#finish(null);
    this.#socket?.close(1000, "closed by the page");
  }

  #connect() {
    const url = new URL(this.#url);
    if (this.#resume) url.searchParams.set("resume", "");
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#welcomed = false;
    this.#heard = performance.now();
    socket.onopen = () => {
      const hello = { type: "hello", version: 1, ...this.#hello };
      if (this.#resume) socket.send(JSON.stringify({ ...hello, token: null, resume: this.#resume, ack: this.#received }));
      else {
        socket.send(JSON.stringify(hello));
        for (const entry of this.#unacknowledged) this.#write(entry);
      }
    };
    socket.onmessage = (event) => {
      if (socket !== this.#socket || this.#over) return;
      this.#heard = performance.now();
      this.#take(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket === this.#socket && !this.#over) this.#lost(event.code);
    };
  }

  #write(entry) {
    this.#socket.send(JSON.stringify({ ...entry.message, seq: entry.seq, ack: this.#received }));
    this.#acknowledged = this.#received;
  }

  #take({ seq, ack, ...message }) {
    if (ack !== undefined) this.#unacknowledged = this.#unacknowledged.filter((entry) => entry.seq > ack);
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
      case "error":
        if (!seq && FINAL_ERRORS.has(message.code)) return this.#finish(message);
        if (message.code === "replaced") return this.#finish(message);
        break;
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #welcome(message) {
    const resumed = this.#resume !== null;
    this.#resume = message.resume;
    this.#welcomed = true;
    this.#attempt = 0;
    this.#awaySince = 0;
    if (resumed) {
      for (const entry of this.#unacknowledged) this.#write(entry);
      this.#ping();
      this.dispatchEvent(new Event("back"));
    } else {
      this.dispatchEvent(new CustomEvent("message", { detail: message }));
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
    if (this.#resume && !this.#over) this.#drop();
  };

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket.onclose = socket.onmessage = socket.onopen = null;
    socket.close(4000, "silent");
    this.#lost(1006);
  }

  async #lost(code) {
    if (!this.#resume) {
      this.#finish(await this.#whyNot(code));
      return;
    }
    const now = performance.now();
    if (!this.#awaySince) {
      this.#awaySince = now;
      this.dispatchEvent(new Event("away"));
    }
    if (code === 1000 || now - this.#awaySince > RESUME_WINDOW_MS) {
      this.#finish({ code: code === 1000 ? "closed" : "lost", message: "" });
      return;
    }
    const wait = BACKOFF_MS[Math.min(this.#attempt++, BACKOFF_MS.length - 1)];
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#over) this.#connect();
    }, wait);
    this.#timers.add(timer);
  }

  // A WebSocket does not tell why its upgrade was refused; the entry or readiness does, where we may ask.
  async #whyNot() {
    const { entry } = this.#hello;
    const url = new URL(entry ? `/v1/entries/${encodeURIComponent(entry)}` : "/readyz", this.#url);
    url.protocol = this.#url.protocol === "wss:" ? "https:" : "http:";
    try {
      const response = await fetch(url, { cache: "no-store" });
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
    removeEventListener("online", this.#online);
    if (reason) this.dispatchEvent(new CustomEvent("over", { detail: reason }));
  }
}
