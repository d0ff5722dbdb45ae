// A signed-in agent: one session that outlives its calls, and a peer connection for each call.

import { BASE } from "./base.js";
import { sessionProblem } from "./call.js";
import { AUDIO, VIDEO, capture, deviceProblem } from "./peer.js";
import { Talk, iceServersOf, release } from "./talk.js";

const RECONNECT_MS = 3000;
const SUPERVISION = { listen: "listens to this call", whisper: "speaks to you alone", barge: "is in this call" };
const NOT_SHOWN = "The other side's phone cannot show your camera's picture.";
const MAX_SHOWN_DIGITS = 32;

export class Agent extends Talk {
  /** offline, ready, ringing, calling, connected, held */
  phase = "offline";
  notice = "";
  incoming = null;
  /** Who the present call is with, as `incoming` said or as was dialled. */
  party = null;
  peerName = "";
  /** Keys pressed in this call, as they were sent. */
  digits = "";
  #token;
  #iceServers = [];
  #reconnect = 0;
  #over = false;

  constructor(token) {
    super();
    this.#token = token;
  }

  get active() {
    return ["calling", "connected", "held"].includes(this.phase);
  }

  get videoMuted() {
    return !this.cameraOn;
  }

  get #talking() {
    return this.phase === "connected" || this.phase === "held";
  }

  /** Be there for calls. Fires "signed-out" (detail: text) when the session cannot go on. */
  connect() {
    this._openSession(BASE, { role: "agent", token: this.#token });
  }

  /** Sign out; a call under way ends. */
  disconnect() {
    this.hangUp();
    this.#over = true;
    clearTimeout(this.#reconnect);
    this._session?.close();
    this._session = null;
    this._set({ phase: "offline" });
  }

  /** Take the incoming call. Microphone and camera are asked for only now. */
  answer() {
    if (!this.incoming) return;
    const { call_id, media, ...about } = this.incoming;
    this._session.send({ type: "accept", call_id });
    this._set({ phase: "calling", incoming: null, party: about, peerName: about.caller.name });
    this.#startMedia(media?.video !== false);
  }

  /** Let somebody else take the incoming call. */
  decline() {
    if (!this.incoming) return;
    this._session.send({ type: "decline", call_id: this.incoming.call_id });
    this._set({ incoming: null, phase: "ready", notice: "Call declined." });
  }

  /** Call a user, number or SIP address. */
  dial(target) {
    if (this.phase !== "ready" || !target) return;
    this._session.send({ type: "call", target });
    this._set({ party: null, peerName: target });
    this.#startMedia(true);
  }

  hangUp() {
    if (!this.active) return;
    this._session?.send({ type: "hangup" });
    this.#endCall("You hung up.");
  }

  /** Press keys for the other side's menu: digits, * and # (RFC 4733 events). */
  press(digits) {
    if (this.phase !== "connected") return;
    this._session?.send({ type: "dtmf", digits });
    this._set({ digits: (this.digits + digits).slice(-MAX_SHOWN_DIGITS) });
  }

  async #startMedia(video) {
    const number = ++this._number;
    this._set({ phase: "calling", notice: "", muted: false, cameraOn: false, trouble: false, digits: "" });
    const peer = this._connectPeer({ iceServers: this.#iceServers, video: video ? "sendrecv" : null });
    // The tracks join the running connection when they are there; the offer does not wait for the devices.
    peer.start();
    const camera = video ? capture({ video: VIDEO }) : null;
    camera?.catch(() => {});
    try {
      const microphone = capture({ audio: AUDIO });
      const stream = await microphone;
      if (number !== this._number) {
        release(camera);
        return release(microphone);
      }
      await this._useMicrophone(stream);
    } catch (error) {
      release(camera);
      if (number !== this._number) return;
      this._session?.send({ type: "hangup" });
      return this.#endCall(deviceProblem(error, "microphone"));
    }
    // An agent without a camera still talks.
    if (camera) await this._startCamera({ capturing: camera });
  }

  _peerFailed() {
    this.#endCall("Your browser and the server could not agree on sound and picture.");
  }

  _say(notice) {
    this._set({ notice });
  }

  _take(message) {
    switch (message.type) {
      case "welcome":
        this.#iceServers = iceServersOf(message);
        return this._set({ phase: this.phase === "offline" ? "ready" : this.phase, away: false });
      case "incoming":
        // Only one call rings at a time here; a further one is for somebody else.
        if (this.phase !== "ready") return this._session.send({ type: "decline", call_id: message.call_id });
        return this._set({ phase: "ringing", incoming: message, notice: "" });
      case "withdrawn":
        if (this.incoming?.call_id === message.call_id) {
          this._set({ phase: "ready", incoming: null, notice: "The caller hung up or was answered elsewhere." });
        }
        return;
      case "picture":
        return this._peer?.limitPicture(message);
      case "text":
        return this._set({ liveText: message.on });
      case "supervised":
        return this._set({ notice: message.mode ? `${message.by} ${SUPERVISION[message.mode]}.` : `${message.by} has left.` });
      case "state":
        return this.#takeState(message);
      case "answer":
        return this._peer?.takeAnswer(message);
      case "offer":
        return this._peer?.takeOffer(message);
      case "ended":
        return this.#endCall(endedText(message));
      case "error":
        if (
          (this.active && ["bad_offer", "bad_call", "bad_accept"].includes(message.code)) ||
          (this.phase === "calling" && message.code === "internal")
        ) {
          return this.#endCall(message.message || "The call could not be made.");
        }
        return this._set({ notice: message.message });
    }
  }

  #takeState({ state, peer, video }) {
    if (state === "ended") return this.#endCall("The call has ended.");
    if (!this.active) return;
    const phase = state === "connected" || state === "held" ? state : "calling";
    // Who talks by phone may come with a browser later, for the picture.
    if (video?.may_send) this._peer?.addVideo();
    const notice = video?.reason === "size" ? NOT_SHOWN : this.notice === NOT_SHOWN ? "" : this.notice;
    const peerName = peer?.name || this.peerName;
    // What was known about who called need not be true of who is there now.
    const party = this.party && this.#talking && peerName !== this.peerName ? { ...this.party, changed: true } : this.party;
    this._set({ phase, notice, peerName, party });
  }

  _sessionOver(reason) {
    const { code } = reason;
    this.#endCall("The connection was lost.");
    this._session = null;
    if (this.#over) return;
    if (["token", "origin", "replaced"].includes(code)) {
      this.#over = true;
      this._set({ phase: "offline" });
      const text = code === "replaced" ? "You signed in somewhere else." : sessionProblem({ ...reason, code: "" });
      this.dispatchEvent(new CustomEvent("signed-out", { detail: text }));
      return;
    }
    this._set({ phase: "offline", away: true, incoming: null });
    this.#reconnect = setTimeout(() => this.connect(), RECONNECT_MS);
  }

  #endCall(text) {
    this._release();
    if (this.active) this._set({ phase: "ready", party: null, notice: text, trouble: false });
  }
}

function endedText({ by, reason, code }) {
  if (by === "agent" && reason === "hangup") return "You hung up.";
  if (reason === "hangup") return "The other side hung up.";
  return `The call has ended${reason ? `: ${reason.replaceAll("_", " ")}` : ""}${code ? ` (${code})` : ""}.`;
}
