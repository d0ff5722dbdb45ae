// What a caller's call and an agent's calls have in common: the session, one peer connection at a time, microphone,
// camera, mute. Subclasses decide when; "change" events say that there is something else to show.

import { hurryBack } from "./flow.js";
import { Peer, VIDEO, capture, deviceProblem } from "./peer.js";
import { Session } from "./session.js";
import { MOST_VOICES } from "./voices.js";

export class Talk extends EventTarget {
  /** The socket is lost and being resumed. */
  away = false;
  /** Nobody has answered yet. */
  unreached = false;
  /** The media path is interrupted. */
  trouble = false;
  muted = false;
  cameraOn = false;
  cameraBusy = false;
  localVideo = null;
  /** The other side has real-time text. */
  liveText = false;
  _session = null;
  _peer = null;
  _microphone = null;
  /** Counts calls: what was awaited for a call that is over has another number, and begins nothing any more. */
  _number = 0;

  // Subclasses say: `active` (whether there is a call), `videoMuted`, `_take(message)`, `_sessionOver(reason)`,
  // `_peerFailed()`, `_say(text)` (shows a problem that ends nothing).

  get remote() {
    return this._peer?.remote ?? null;
  }

  /** The data channels of the present call; null without one. */
  get chatChannel() {
    return this._peer?.chat ?? null;
  }

  get typingChannel() {
    return this._peer?.typing ?? null;
  }

  /** Mute or unmute the microphone. */
  toggleMute() {
    if (!this.active) return;
    this.muted = !this.muted;
    if (this._microphone) this._microphone.enabled = !this.muted;
    this._sendMute();
    this._changed();
  }

  /** Switch the camera off (its light goes out) or on again. */
  async toggleCamera() {
    if (!this.active || this.cameraBusy || !this._peer?.hasVideo) return;
    if (!this.cameraOn) return this._startCamera();
    this._stopCamera();
    await this._peer.sendVideo(null);
    this._sendMute();
    this._changed();
  }

  _openSession(server, hello, others) {
    const session = new Session(server, { voices: MOST_VOICES, ...hello }, others);
    this._session = session;
    const on = (type, act) => {
      session.addEventListener(type, ({ detail }) => session === this._session && act(detail));
    };
    on("message", (message) => {
      // The way that media took is going: the server asks for another one.
      if (message.type === "restart_ice") this._peer?.restartIce();
      else this._take(message);
    });
    on("waiting", () => this._set({ unreached: true }));
    on("away", () => {
      this._set({ away: true });
      hurryBack(session, this._peer);
    });
    on("back", () => this._set({ away: false }));
    on("over", (reason) => this._sessionOver(reason));
    session.open();
  }

  _connectPeer(options) {
    const peer = new Peer(options);
    this._peer = peer;
    const on = (type, act) => peer.addEventListener(type, ({ detail }) => peer === this._peer && act(detail));
    for (const type of ["offer", "answer", "candidate"]) {
      on(type, (detail) => this._session?.send({ type, ...detail }));
    }
    on("stream", () => this._changed());
    on("connected", () => this._set({ trouble: false }));
    // Media and session mostly take the same way.
    on("silent", () => this._session?.probe());
    on("trouble", () => this._set({ trouble: true }));
    on("failed", () => {
      this._session?.send({ type: "hangup" });
      this._peerFailed();
    });
    return peer;
  }

  async _useMicrophone(stream) {
    this._microphone = stream.getAudioTracks()[0];
    this._microphone.enabled = !this.muted;
    await this._peer.sendAudio(this._microphone);
  }

  /** Start the camera, or use `capturing`; `agreed` is called when it runs, before anything of it is sent. */
  async _startCamera({ capturing = capture({ video: VIDEO }), agreed = () => {} } = {}) {
    const number = this._number;
    this._set({ cameraBusy: true });
    this._say("");
    try {
      const stream = await capturing;
      if (number !== this._number) return stop(stream);
      agreed();
      const track = stream.getVideoTracks()[0];
      track.onended = () => this.cameraOn && this.toggleCamera();
      this.localVideo = stream;
      this.cameraOn = true;
      await this._peer.sendVideo(track);
      this._sendMute();
    } catch (error) {
      if (number === this._number) this._say(deviceProblem(error, "camera"));
    } finally {
      if (number === this._number) this._set({ cameraBusy: false });
    }
  }

  _stopCamera() {
    this.localVideo?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this.localVideo = null;
    this.cameraOn = false;
  }

  /** Let go of everything that belongs to the present call. */
  _release() {
    this._number += 1;
    this.liveText = false;
    this._stopCamera();
    this.cameraBusy = false;
    this._microphone?.stop();
    this._microphone = null;
    this._peer?.close();
    this._peer = null;
  }

  _sendMute() {
    this._session?.send({ type: "mute", audio: this.muted, video: this.videoMuted });
  }

  _set(values) {
    Object.assign(this, values);
    this._changed();
  }

  _changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Members that the server leaves open are not members at all to a browser. */
export function iceServersOf({ ice_servers }) {
  return (ice_servers ?? []).map((server) => Object.fromEntries(Object.entries(server).filter(([, value]) => value !== null)));
}

/** Lets go of a device that is no longer wanted, whenever it comes. */
export function release(capturing) {
  capturing?.then(stop).catch(() => {});
}

function stop(stream) {
  stream.getTracks().forEach((track) => track.stop());
}
