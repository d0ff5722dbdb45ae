// What a line is good for: each way through the network tried by itself, and the first that works measured with
// messages that the server sends back. Events: "change".

const CONNECT_MS = 10_000;
const PINGS = 50;
const PING_MS = 40;
const PING_BYTES = 100;
const ECHO_WAIT_MS = 1500;
const FILL_MS = 4000;
// The first second of it, in which the browser finds its speed, does not count.
const FILL_FROM_MS = 1000;
const TICK_MS = 20;
const MOST_WAITING = 64 * 1024;
// A message whose echo never came is forgotten in the browser, too: nothing is sent twice.
const AS_MEDIA = { ordered: false, maxRetransmits: 0 };

export class LineTest extends EventTarget {
  /** idle, running, done */
  phase = "idle";
  /** Why the test could not be made at all, for a person. */
  problem = "";
  /** [{name, state: "waiting" | "trying" | "works" | "fails"}], the best way first, as the server says. */
  ways = [];
  /** Of the first way that works: {rttMs, jitterMs, loss (0 to 1)}, and {bps, enough: whether all that was sent came back}. */
  quality = null;
  speed = null;
  #server;
  #who;
  #token;
  #id = null;
  #run = 0;
  #pc = null;

  /** `who`: {entry, token} for a caller's page, or {bearer} for an agent. */
  constructor(server, { bearer = null, ...who }) {
    super();
    this.#server = server;
    this.#who = who;
    this.#token = bearer;
  }

  async start() {
    if (this.phase === "running") return;
    const run = ++this.#run;
    Object.assign(this, { phase: "running", problem: "", ways: [], quality: null, speed: null });
    this.#changed();
    try {
      const begun = await this.#ask("POST", "/v1/line-tests", await this.#whoAsks());
      if (run !== this.#run) return;
      this.#id = begun.id;
      this.ways = begun.ways.map((way) => ({ ...way, state: "waiting" }));
      await this.#tryAll(begun, run);
    } catch (error) {
      if (run !== this.#run) return;
      this.problem = error instanceof TypeError ? "The server cannot be reached. Please check your connection." : error.message;
    }
    if (run === this.#run) this.#finish();
  }

  /** End a test that runs. */
  stop() {
    this.#run++;
    this.#finish();
  }

  async #tryAll(begun, run) {
    for (const way of this.ways) {
      way.state = "trying";
      this.#changed();
      const link = await this.#connect(way);
      if (run !== this.#run) return;
      way.state = link ? "works" : "fails";
      this.#changed();
      if (link && !this.quality) {
        const quality = await measureQuality(link);
        if (run !== this.#run) return;
        this.quality = quality;
        this.#changed();
        const speed = await measureSpeed(link, begun);
        if (run !== this.#run) return;
        this.speed = speed;
      }
      this.#pc?.close();
    }
  }

  // The two channels over this way, or null where it leads nowhere.
  async #connect(way) {
    const relayed = way.ice_servers.length > 0;
    const servers = way.ice_servers.map((server) => Object.fromEntries(Object.entries(server).filter(([, value]) => value !== null)));
    const pc = new RTCPeerConnection({ iceServers: servers, iceTransportPolicy: relayed ? "relay" : "all" });
    this.#pc = pc;
    const link = { up: pc.createDataChannel("up", AS_MEDIA), down: pc.createDataChannel("down", AS_MEDIA) };
    link.up.binaryType = link.down.binaryType = "arraybuffer";
    try {
      const open = Promise.all([opened(link.up), opened(link.down)]);
      open.catch(() => {});
      await pc.setLocalDescription();
      // A relay has to be found before anybody can be told of it.
      if (relayed) await gathered(pc);
      const { sdp } = await this.#ask("POST", `/v1/line-tests/${this.#id}`, { sdp: pc.localDescription.sdp });
      await pc.setRemoteDescription({ type: "answer", sdp: relayed ? sdp : onlyBy(way.name, sdp) });
      await within(CONNECT_MS, open);
      // What is sent before the server has joined the two is kept for the other: the first echo says that it has.
      await within(CONNECT_MS, firstEcho(link));
      return link;
    } catch (error) {
      console.info("this way leads nowhere:", way.name, error);
      pc.close();
      return null;
    }
  }

  async #whoAsks() {
    if (this.#token) return {};
    const { entry, token } = this.#who;
    return { entry, token: typeof token === "function" ? await token() : token ?? null };
  }

  async #ask(method, path, body = null) {
    const headers = { "Content-Type": "application/json" };
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const response = await fetch(`${this.#server}${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (response.status === 204) return null;
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    return answer;
  }

  #finish() {
    this.#pc?.close();
    this.#pc = null;
    if (this.#id) this.#ask("DELETE", `/v1/line-tests/${this.#id}`).catch(() => {});
    this.#id = null;
    this.phase = "done";
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The answer with the candidates of one protocol alone. */
export function onlyBy(protocol, sdp) {
  const lines = sdp.split("\r\n");
  return lines.filter((line) => !line.startsWith("a=candidate:") || line.split(" ")[2].toLowerCase() === protocol).join("\r\n");
}

/** Round trip, its variation and loss, of the echoes of `sent` messages: [milliseconds], one for each that came back. */
function qualityOf(sent, echoes) {
  const sorted = [...echoes].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? null;
  const high = sorted[Math.floor(sorted.length * 0.95)] ?? null;
  return { rttMs: median, jitterMs: high === null ? null : high - median, loss: sent ? 1 - sorted.length / sent : 1 };
}

async function measureQuality({ up, down }) {
  const times = new Map();
  const echoes = [];
  down.onmessage = ({ data }) => {
    const number = new DataView(data).getUint32(0);
    if (times.has(number)) echoes.push(performance.now() - times.get(number));
    times.delete(number);
  };
  for (let number = 1; number <= PINGS; number++) {
    times.set(number, performance.now());
    up.send(numbered(number, PING_BYTES));
    await pause(PING_MS);
  }
  const until = performance.now() + ECHO_WAIT_MS;
  while (times.size && performance.now() < until) await pause(TICK_MS);
  return qualityOf(PINGS, echoes);
}

async function measureSpeed({ up, down }, { messages_per_second: rate, message_bytes: bytes }) {
  const start = performance.now();
  let came = 0;
  down.onmessage = () => {
    const at = performance.now() - start;
    if (at >= FILL_FROM_MS && at < FILL_MS) came++;
  };
  // A little less than the server sends back, which would drop the rest.
  const wanted = rate * 0.95;
  let sent = 0;
  for (let at = 0; at < FILL_MS; at = performance.now() - start) {
    for (; sent < (wanted * at) / 1000; sent++) {
      if (up.bufferedAmount < MOST_WAITING) up.send(numbered(sent, bytes));
    }
    await pause(TICK_MS);
  }
  const seconds = (FILL_MS - FILL_FROM_MS) / 1000;
  return { bps: (came * bytes * 8) / seconds, enough: came >= 0.9 * wanted * seconds };
}

function numbered(number, bytes) {
  const message = new ArrayBuffer(bytes);
  new DataView(message).setUint32(0, number);
  return message;
}

function firstEcho({ up, down }) {
  return new Promise((resolve) => {
    const again = setInterval(() => up.readyState === "open" && up.send(numbered(0, PING_BYTES)), 100);
    down.onmessage = () => {
      clearInterval(again);
      resolve();
    };
    down.addEventListener("close", () => clearInterval(again));
  });
}

function opened(channel) {
  return new Promise((resolve, reject) => {
    channel.onopen = resolve;
    channel.onclose = channel.onerror = () => reject(new Error("the channel was closed"));
  });
}

function gathered(pc) {
  const complete = new Promise((resolve) => {
    const look = () => pc.iceGatheringState === "complete" && resolve();
    pc.addEventListener("icegatheringstatechange", look);
    look();
  });
  return within(CONNECT_MS, complete);
}

function within(milliseconds, promise) {
  let timer = 0;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
