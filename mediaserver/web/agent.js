// A signed-in agent: one session that outlives its calls, and a peer connection for each call.

import { sessionProblem, withoutNulls } from "./call.js";
import { AUDIO, Peer, VIDEO, capture, deviceProblem } from "./peer.js";
import { Session } from "./session.js";

const RECONNECT_MS = 3000;

export class Agent extends EventTarget {
  /** offline, ready, ringing, calling, connected, held */
  phase = "offline";
  notice = "";
  away = false;
  trouble = false;
  incoming = null;
  /** Who the present call is with, as `incoming` said or as was dialled. */
  party = null;
  peerName = "";
  muted = false;
  cameraOn = false;
  cameraBusy = false;
  localVideo = null;
  #token;
  #session = null;
  #peer = null;
  #microphone = null;
  #iceServers = [];
  #call = 0;
  #reconnect = 0;
  #over = false;

  constructor(token) {
    super();
    this.#token = token;
  }

  get inCall() {
    return ["calling", "connected", "held"].includes(this.phase);
  }

  get remote() {
    return this.#peer?.remote ?? null;
  }

  /** Be there for calls. Fires "signed-out" (detail: text) when the session cannot go on. */
  connect() {
    const session = new Session(location.origin, { role: "agent", token: this.#token });
    this.#session = session;
    session.addEventListener("message", ({ detail }) => session === this.#session && this.#take(detail));
    session.addEventListener("away", () => this.#set({ away: true }));
    session.addEventListener("back", () => this.#set({ away: false }));
    session.addEventListener("over", ({ detail }) => session === this.#session && this.#sessionOver(detail));
    session.open();
  }

  /** Sign out; a call under way ends. */
  disconnect() {
    this.hangUp();
    this.#over = true;
    clearTimeout(this.#reconnect);
    this.#session?.close();
    this.#session = null;
    this.#set({ phase: "offline" });
  }

  /** Take the incoming call. Microphone and camera are asked for only now. */
  answer() {
    if (!this.incoming) return;
    const { call_id, media, ...about } = this.incoming;
    this.#session.send({ type: "accept", call_id });
    this.#set({ phase: "calling", incoming: null, party: about, peerName: about.caller.name });
    this.#startMedia(media?.video !== false);
  }

  /** Let somebody else take the incoming call. */
  decline() {
    if (!this.incoming) return;
    this.#session.send({ type: "decline", call_id: this.incoming.call_id });
    this.#set({ incoming: null, phase: "ready", notice: "Call declined." });
  }

  /** Call a user, number or SIP address. */
  dial(target) {
    if (this.phase !== "ready" || !target) return;
    this.#session.send({ type: "call", target });
    this.#set({ party: null, peerName: target });
    this.#startMedia(true);
  }

  hangUp() {
    if (!this.inCall) return;
    this.#session?.send({ type: "hangup" });
    this.#endCall("You hung up.");
  }

  toggleMute() {
    if (!this.inCall) return;
    this.muted = !this.muted;
    if (this.#microphone) this.#microphone.enabled = !this.muted;
    this.#sendMute();
    this.#changed();
  }

  async toggleCamera() {
    if (!this.inCall || this.cameraBusy || !this.#peer?.hasVideo) return;
    if (this.cameraOn) {
      this.#stopCamera();
      await this.#peer.sendVideo(null);
    } else {
      const call = this.#call;
      this.#set({ cameraBusy: true, notice: "" });
      try {
        await this.#useCamera(await capture({ video: VIDEO }), call);
      } catch (error) {
        this.notice = deviceProblem(error, "camera");
      } finally {
        this.#set({ cameraBusy: false });
      }
    }
    this.#sendMute();
    this.#changed();
  }

  async #startMedia(video) {
    const call = ++this.#call;
    this.#set({ phase: "calling", notice: "", muted: false, cameraOn: false, trouble: false });
    const peer = new Peer({ iceServers: this.#iceServers, video: video ? "sendrecv" : null });
    this.#peer = peer;
    for (const type of ["offer", "answer", "candidate"]) {
      peer.addEventListener(type, ({ detail }) => call === this.#call && this.#session?.send({ type, ...detail }));
    }
    peer.addEventListener("stream", () => this.#changed());
    peer.addEventListener("connected", () => this.#set({ trouble: false }));
    peer.addEventListener("trouble", () => this.#set({ trouble: true }));
    peer.addEventListener("failed", () => {
      this.#session?.send({ type: "hangup" });
      this.#endCall("Your browser and the server could not agree on sound and picture.");
    });
    // The tracks join the running connection when they are there; the offer does not wait for the devices.
    peer.start();
    const camera = video ? capture({ video: VIDEO }) : null;
    camera?.catch(() => {});
    try {
      const stream = await capture({ audio: AUDIO });
      if (call !== this.#call) return stream.getTracks().forEach((track) => track.stop());
      this.#microphone = stream.getAudioTracks()[0];
      this.#microphone.enabled = !this.muted;
      await peer.sendAudio(this.#microphone);
    } catch (error) {
      if (call !== this.#call) return;
      this.#session?.send({ type: "hangup" });
      camera?.then((stream) => stream.getTracks().forEach((track) => track.stop())).catch(() => {});
      return this.#endCall(deviceProblem(error, "microphone"));
    }
    if (!camera) return;
    try {
      await this.#useCamera(await camera, call);
    } catch (error) {
      // An agent without a camera still talks.
      if (call === this.#call) this.#set({ notice: deviceProblem(error, "camera") });
    }
  }

  async #useCamera(stream, call) {
    const track = stream.getVideoTracks()[0];
    if (call !== this.#call || !this.#peer) return track.stop();
    track.onended = () => this.cameraOn && this.toggleCamera();
    this.#set({ localVideo: stream, cameraOn: true });
    await this.#peer.sendVideo(track);
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
    this.#session?.send({ type: "mute", audio: this.muted, video: !this.cameraOn });
  }

  #take(message) {
    switch (message.type) {
      case "welcome":
        this.#iceServers = (message.ice_servers ?? []).map(withoutNulls);
        return this.#set({ phase: this.phase === "offline" ? "ready" : this.phase, away: false });
      case "incoming":
        // Only one call rings at a time here; a further one is for somebody else.
        if (this.phase !== "ready") return this.#session.send({ type: "decline", call_id: message.call_id });
        return this.#set({ phase: "ringing", incoming: message, notice: "" });
      case "withdrawn":
        if (this.incoming?.call_id === message.call_id) {
          this.#set({ phase: "ready", incoming: null, notice: "The caller hung up or was answered elsewhere." });
        }
        return;
      case "state":
        return this.#takeState(message);
      case "answer":
        return this.#peer?.takeAnswer(message);
      case "offer":
        return this.#peer?.takeOffer(message);
      case "ended":
        return this.#endCall(endedText(message));
      case "error":
        if (
          (this.inCall && ["bad_offer", "bad_call", "bad_accept"].includes(message.code)) ||
          (this.phase === "calling" && message.code === "internal")
        ) {
          return this.#endCall(message.message || "The call could not be made.");
        }
        return this.#set({ notice: message.message });
    }
  }

  #takeState({ state, peer }) {
    if (state === "ended") return this.#endCall("The call has ended.");
    if (!this.inCall) return;
    const phase = state === "connected" || state === "held" ? state : "calling";
    this.#set({ phase, peerName: peer?.name || this.peerName });
  }

  #sessionOver(reason) {
    const { code } = reason;
    this.#endCall("The connection was lost.");
    this.#session = null;
    if (this.#over) return;
    if (["token", "origin", "replaced"].includes(code)) {
      this.#over = true;
      this.#set({ phase: "offline" });
      const text = code === "replaced" ? "You signed in somewhere else." : sessionProblem({ ...reason, code: "" });
      this.dispatchEvent(new CustomEvent("signed-out", { detail: text }));
      return;
    }
    this.#set({ phase: "offline", away: true, incoming: null });
    this.#reconnect = setTimeout(() => this.connect(), RECONNECT_MS);
  }

  #endCall(text) {
    this.#call += 1;
    this.#stopCamera();
    this.#microphone?.stop();
    this.#microphone = null;
    this.#peer?.close();
    this.#peer = null;
    if (this.inCall) this.#set({ phase: "ready", party: null, notice: text, trouble: false });
  }

  #set(values) {
    Object.assign(this, values);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function endedText({ by, reason, code }) {
  if (by === "agent" && reason === "hangup") return "You hung up.";
  if (reason === "hangup") return "The other side hung up.";
  return `The call has ended${reason ? `: ${reason.replaceAll("_", " ")}` : ""}${code ? ` (${code})` : ""}.`;
}
