// One caller's call: the session and the peer connection joined; says what to show by "change" events.

import { AUDIO, Peer, VIDEO, capture, deviceProblem } from "./peer.js";
import { Session } from "./session.js";

const WORDS = {
  draining: "We cannot take calls for a moment. Please try again shortly.",
  entry: "This call button is not set up. Please tell the owner of the page.",
  internal: "Something went wrong on our side. Please try again.",
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

export class Call extends EventTarget {
  /** idle, starting, waiting, connected, held, ended */
  phase = "idle";
  /** The server's word for it, once it said one. */
  state = "";
  detail = "";
  /** Why there is no picture, where it is nobody's wish: "bandwidth". */
  videoReason = "";
  problem = "";
  peerName = "";
  away = false;
  trouble = false;
  muted = false;
  maySendVideo = false;
  consented = false;
  cameraOn = false;
  cameraBusy = false;
  title = "";
  localVideo = null;
  #session = null;
  #peer = null;
  #microphone = null;
  #number = 0;

  /** `options`: server, entry, token (text or async function), attributes, page, video, consentVersion. */
  constructor(options) {
    super();
    this.options = options;
  }

  get remote() {
    return this.#peer?.remote ?? null;
  }

  get active() {
    return !["idle", "ended"].includes(this.phase);
  }

  /** Call. The microphone is asked for only now; session, microphone and offer are on their way at the same time. */
  async start() {
    if (this.active) return;
    Object.assign(this, {
      phase: "starting", state: "", detail: "", problem: "", peerName: "", away: false, trouble: false, muted: false,
      maySendVideo: false, consented: false, cameraOn: false,
    });
    this.#changed();
    const { server, entry, attributes, page, video } = this.options;
    // Whoever hangs up while something is awaited here has another number then, and nothing is begun any more.
    const number = ++this.#number;
    const granted = microphoneGranted();
    const microphone = capture({ audio: AUDIO });
    microphone.catch(() => {});
    let token = this.options.token ?? null;
    if (typeof token === "function") {
      try {
        token = await token();
      } catch {
        if (number === this.#number) {
          this.#end("Your sign-in on this page could not be confirmed. Please reload the page and call again.");
        }
      }
      if (number !== this.#number) return release(microphone);
    }
    this.#session = new Session(server, { role: "caller", entry, token, page, attributes });
    this.#session.addEventListener("message", ({ detail }) => this.#take(detail));
    this.#session.addEventListener("away", () => this.#set({ away: true }));
    this.#session.addEventListener("back", () => this.#set({ away: false }));
    this.#session.addEventListener("over", ({ detail }) => {
      this.#end(detail.code === "closed" ? this.detail || "The call has ended." : sessionProblem(detail));
    });
    this.#session.open();
    this.#connectPeer(video === "none" ? null : "recvonly");
    // Where the microphone may be used already, nobody waits for it: its track joins the running connection.
    if (await granted && number === this.#number) this.#peer.start();
    try {
      const stream = await microphone;
      if (number !== this.#number) return release(microphone);
      this.#microphone = stream.getAudioTracks()[0];
      this.#microphone.enabled = !this.muted;
      const peer = this.#peer;
      await peer.sendAudio(this.#microphone);
      if (number === this.#number) peer.start();
    } catch (error) {
      if (number !== this.#number) return;
      this.#session?.send({ type: "hangup" });
      this.#end(deviceProblem(error, "microphone"));
    }
  }

  /** Hang up. */
  hangUp() {
    if (!this.active) return;
    this.#session?.send({ type: "hangup" });
    this.#end("You hung up.", { problem: false });
  }

  /** Mute or unmute the microphone. */
  toggleMute() {
    if (!this.active) return;
    this.muted = !this.muted;
    if (this.#microphone) this.#microphone.enabled = !this.muted;
    this.#sendMute();
    this.#changed();
  }

  /** The caller agrees that the camera is shown. Nothing of it is captured before this. */
  async showCamera() {
    if (this.consented || !this.maySendVideo) return;
    await this.#startCamera(() => {
      this.consented = true;
      this.#session?.send({ type: "consent", camera: true, text_version: this.options.consentVersion });
    });
  }

  /** Switch the camera off (its light goes out) or on again. */
  async toggleCamera() {
    if (!this.consented) return;
    if (!this.cameraOn) return this.#startCamera(() => {});
    this.#stopCamera();
    await this.#peer?.sendVideo(null);
    this.#sendMute();
    this.#changed();
  }

  stats() {
    return this.#peer?.stats();
  }

  #connectPeer(video) {
    const peer = new Peer({ video });
    this.#peer = peer;
    for (const type of ["offer", "answer", "candidate"]) {
      peer.addEventListener(type, ({ detail }) => this.#session?.send({ type, ...detail }));
    }
    peer.addEventListener("stream", () => this.#changed());
    peer.addEventListener("connected", () => this.#set({ trouble: false }));
    peer.addEventListener("trouble", () => this.#set({ trouble: true }));
    peer.addEventListener("failed", () => {
      this.#session?.send({ type: "hangup" });
      this.#end("Your browser and our server could not agree on sound and picture.");
    });
  }

  #take(message) {
    switch (message.type) {
      case "welcome":
        this.#peer?.useIceServers((message.ice_servers ?? []).map(withoutNulls));
        return this.#set({ title: message.title });
      case "answer":
        return this.#peer?.takeAnswer(message);
      case "offer":
        return this.#peer?.takeOffer(message);
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
    this.#set({ phase, state, detail: detail ?? "", peerName: peer?.name ?? (phase === "waiting" ? "" : this.peerName) });
  }

  async #startCamera(agreed) {
    if (this.cameraBusy || !this.active) return;
    const number = this.#number;
    this.#set({ cameraBusy: true, problem: "" });
    try {
      const stream = await capture({ video: VIDEO });
      const track = stream.getVideoTracks()[0];
      if (number !== this.#number) return track.stop();
      agreed();
      track.onended = () => this.cameraOn && this.toggleCamera();
      this.localVideo = stream;
      this.cameraOn = true;
      await this.#peer.sendVideo(track);
      this.#sendMute();
    } catch (error) {
      if (number === this.#number) this.problem = deviceProblem(error, "camera");
    } finally {
      this.#set({ cameraBusy: false });
    }
  }

  #stopCamera() {
    this.localVideo?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this.localVideo = null;
    this.cameraOn = false;
  }

  #sendMute() {
    this.#session?.send({ type: "mute", audio: this.muted, video: this.consented && !this.cameraOn });
  }

  #end(text, { problem = true } = {}) {
    if (this.phase === "ended") return;
    this.#number += 1;
    this.#stopCamera();
    this.#microphone?.stop();
    this.#microphone = null;
    this.#peer?.close();
    this.#peer = null;
    this.#session?.close();
    this.#session = null;
    this.#set({ phase: "ended", detail: text, problem: problem ? text : "", away: false, trouble: false, maySendVideo: false });
  }

  #set(values) {
    Object.assign(this, values);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

// The sentence for the end of a call, and whether it is one that the caller did not expect.
function ending({ by, reason, code }) {
  if (by === "caller" && reason === "hangup") return ["You hung up.", false];
  if (BUSY_CODES.has(code)) return [BUSY, true];
  if (ENDINGS[reason]) return [ENDINGS[reason], true];
  return [by === "agent" ? "The other side hung up." : "The call has ended.", false];
}

/** Members that the server leaves open are not members at all to a browser. */
export function withoutNulls(value) {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null));
}

// Lets go of a device that is no longer wanted, whenever it comes.
function release(capturing) {
  capturing.then((stream) => stream.getTracks().forEach((track) => track.stop())).catch(() => {});
}

async function microphoneGranted() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
  } catch {
    return false;
  }
}
