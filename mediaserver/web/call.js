// One caller's call: the session and the peer connection joined; says what to show by "change" events.

import { AUDIO, capture, deviceProblem } from "./peer.js";
import { Talk, iceServersOf, release } from "./talk.js";

const WORDS = {
  draining: "We cannot take calls for a moment. Please try again shortly.",
  entry: "This call button is not set up. Please tell the owner of the page.",
  internal: "Something went wrong on our side. Please try again.",
  link: "This link has been used, or the call is over. Please ask for another one.",
  limit: "All lines are busy at the moment. Please try again in a few minutes.",
  lost: "The connection was lost. Please call again.",
  origin: "Calls from this page are not allowed. Please tell the owner of the page.",
  refused: "The call could not be started. Please try again.",
  resume: "The connection was lost for too long. Please call again.",
  token: "Your sign-in on this page has run out. Please reload the page and call again.",
  unreachable: "Our server cannot be reached. Please check your connection and try again.",
};

/** A sentence for a person about why a session is over. */
export function sessionProblem({ code, message }) {
  return WORDS[code] ?? message ?? WORDS.refused;
}

const LOST = "The connection was lost. Please call again.";
const NO_MEDIA = "The call could not be connected: your browser and the other side have no sound or picture in common.";
const NOBODY = "Nobody could take your call. Please try again later.";

// What the stable words of `ended` mean to a caller; those that are not here are an ordinary end.
const ENDINGS = {
  consent_expired: LOST,
  dtls_failed: LOST,
  insufficient_bandwidth: "Our line is full at the moment. Please try again later.",
  media_not_negotiable: NO_MEDIA,
  media_timeout: LOST,
  no_answer: NOBODY,
  no_common_media: NO_MEDIA,
  not_answered: NOBODY,
  not_connected: "The call could not be connected. Please try again later.",
  session_lost: LOST,
  unknown_destination: "This call button is not set up. Please tell the owner of the page.",
};
const BUSY = "Everybody is busy at the moment. Please try again later.";
const BUSY_CODES = new Set([486, 600, 603]);

export class Call extends Talk {
  /** idle, starting, waiting, connected, held, ended */
  phase = "idle";
  /** The server's word for it, once it said one. */
  state = "";
  detail = "";
  /** Why there is no picture, where it is nobody's wish: "bandwidth" or "size". */
  videoReason = "";
  problem = "";
  /** How the line is doing: good, fair, poor, bad. */
  quality = "good";
  peerName = "";
  maySendVideo = false;
  consented = false;
  title = "";

  /** `options`: server, servers (others that lead to the same place), entry, link (into a call by phone) or token (text or async function), attributes, page, video, consentVersion. */
  constructor(options) {
    super();
    this.options = options;
  }

  get active() {
    return !["idle", "ended"].includes(this.phase);
  }

  /** The page brings the picture of a call by phone, and no sound. */
  get silent() {
    return Boolean(this.options.link);
  }

  get videoMuted() {
    return this.consented && !this.cameraOn;
  }

  /** Call. The microphone is asked for only now; session, microphone and offer are on their way at the same time. */
  async start() {
    if (this.active) return;
    Object.assign(this, {
      phase: "starting", state: "", detail: "", problem: "", peerName: "", away: false, unreached: false, trouble: false, muted: false,
      maySendVideo: false, consented: false, cameraOn: false, quality: "good",
    });
    this._changed();
    const { server, servers, entry, attributes, page, video, link } = this.options;
    const number = ++this._number;
    if (link) {
      this._openSession(server, { role: "caller", entry, link }, servers);
      this._connectPeer({ video: "recvonly", audio: false }).start();
      return;
    }
    const granted = microphoneGranted();
    const microphone = capture({ audio: AUDIO });
    microphone.catch(() => {});
    let token = this.options.token ?? null;
    if (typeof token === "function") {
      try {
        token = await token();
      } catch {
        if (number === this._number) {
          this.#end("Your sign-in on this page could not be confirmed. Please reload the page and call again.");
        }
      }
      if (number !== this._number) return release(microphone);
    }
    this._openSession(server, { role: "caller", entry, token, page, attributes }, servers);
    const peer = this._connectPeer({ video: video === "none" ? null : "recvonly" });
    // Where the microphone may be used already, nobody waits for it: its track joins the running connection.
    if (await granted && number === this._number) peer.start();
    try {
      const stream = await microphone;
      if (number !== this._number) return release(microphone);
      await this._useMicrophone(stream);
      if (number === this._number) peer.start();
    } catch (error) {
      if (number !== this._number) return;
      this._session?.send({ type: "hangup" });
      this.#end(deviceProblem(error, "microphone"));
    }
  }

  /** Hang up. */
  hangUp() {
    if (!this.active) return;
    this._session?.send({ type: "hangup" });
    this.#end("You hung up.", { problem: false });
  }

  /** The caller agrees that the camera is shown. Nothing of it is captured before this. */
  async showCamera() {
    if (this.consented || !this.maySendVideo || !this.active || this.cameraBusy) return;
    const agreed = () => {
      this.consented = true;
      this._session?.send({ type: "consent", camera: true, text_version: this.options.consentVersion });
    };
    await this._startCamera({ agreed });
  }

  /** Switch the camera off or on again, once the caller has agreed to show it. */
  async toggleCamera() {
    if (this.consented) await super.toggleCamera();
  }

  stats() {
    return this._peer?.stats();
  }

  _sessionOver(reason) {
    this.#end(reason.code === "closed" ? this.detail || "The call has ended." : sessionProblem(reason));
  }

  _peerFailed() {
    this.#end("Your browser and our server could not agree on sound and picture.");
  }

  _say(problem) {
    this._set({ problem });
  }

  _take(message) {
    switch (message.type) {
      case "welcome":
        this._peer?.useIceServers(iceServersOf(message));
        return this._set({ title: message.title, unreached: false });
      case "answer":
        return this._peer?.takeAnswer(message);
      case "offer":
        return this._peer?.takeOffer(message);
      case "picture":
        return this._peer?.limitPicture(message);
      case "text":
        return this._set({ liveText: message.on });
      case "quality":
        return this._set({ quality: message.level });
      case "state":
        return this.#takeState(message);
      case "ended": {
        const [text, problem] = ending(message);
        return this.#end(text, { problem });
      }
      case "error":
        if (message.code === "internal" && !["connected", "held"].includes(this.phase)) {
          return this.#end(sessionProblem(message));
        }
        if (message.code === "bad_offer") return this.#end("Your browser and our server could not agree on sound and picture.");
        return console.warn("the server refused a message:", message.code, message.message);
    }
  }

  #takeState({ state, detail, peer, video }) {
    const phase = { queued: "waiting", ringing: "waiting", announcement: "waiting", connected: "connected", held: "held" }[state];
    if (state === "ended") return this.#end(detail || "The call has ended.", { problem: false });
    if (!phase) return;
    if (video) {
      this.maySendVideo = video.may_send;
      this.videoReason = video.reason ?? "";
    }
    this._set({ phase, state, detail: detail ?? "", peerName: peer?.name ?? (phase === "waiting" ? "" : this.peerName) });
  }

  #end(text, { problem = true } = {}) {
    if (this.phase === "ended") return;
    this._release();
    this._session?.close();
    this._session = null;
    this._set({ phase: "ended", detail: text, problem: problem ? text : "", away: false, unreached: false, trouble: false, maySendVideo: false });
  }
}

// The sentence for the end of a call, and whether it is one that the caller did not expect.
function ending({ by, reason, code }) {
  if (by === "caller" && reason === "hangup") return ["You hung up.", false];
  if (BUSY_CODES.has(code)) return [BUSY, true];
  if (ENDINGS[reason]) return [ENDINGS[reason], true];
  return [by === "agent" ? "The other side hung up." : "The call has ended.", false];
}

async function microphoneGranted() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
  } catch {
    return false;
  }
}
