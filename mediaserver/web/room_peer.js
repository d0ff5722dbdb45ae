// The one RTCPeerConnection of a member of a room: a section for each thing that is sent, and fixed ones to receive on.
//
// Only the page offers. Who is seen where changes without any offer. Events: "offer" {id, sdp, kinds}, "connected",
// "trouble", "silent" (nothing comes any more), "failed", "said" {topic, from, data}.

import { watchFlow } from "./flow.js";
import { CAMERA_LAYERS, sendLayers } from "./layers.js";

const POLICIES = { bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" };
const MOST_WAITING = 256 * 1024;
const MEDIA = { audio: "audio", video: "video", screen: "video" };

/** By this protocol the server puts a line before each message: who said it, as the server knows them. */
const NAMED = "mediaserver.named";

function signed(message) {
  if (typeof message === "string") {
    const end = message.indexOf("\n");
    return { from: message.slice(0, end), data: message.slice(end + 1) };
  }
  const end = new Uint8Array(message).indexOf(10);
  return { from: new TextDecoder().decode(message.slice(0, end)), data: message.slice(end + 1) };
}

export class RoomPeer extends EventTarget {
  #pc;
  #info;
  #senders = new Map();
  #channels = new Map();
  #offers = 0;
  #pending = null;
  #again = false;
  #closed = false;
  #endWatch;

  /** `info` is the room as `welcome` tells it. */
  constructor(info, iceServers = []) {
    super();
    this.#info = info;
    this.#pc = new RTCPeerConnection({ ...POLICIES, iceServers });
    this.allow(info.publish);
    for (const [kind, slots] of [["audio", info.audio_slots], ["video", info.video_slots]]) {
      for (let slot = 0; slot < slots; slot++) this.#add(kind, { direction: "recvonly" });
    }
    this.#pc.onnegotiationneeded = () => this.#offer();
    this.#pc.onconnectionstatechange = () => this.#stateChanged();
    this.#endWatch = watchFlow(this.#pc, () => this.dispatchEvent(new Event("silent")));
  }

  /** Open a data channel, whose label names its topic; `options` as for createDataChannel, but for the protocol. */
  openChannel(topic, options) {
    const channel = this.#pc.createDataChannel(topic, { ...options, protocol: NAMED });
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => this.#emit("said", { topic, ...signed(data) });
    this.#channels.set(topic, channel);
  }

  /** Send text or bytes on a topic; false where there is no open channel for it, or too much is waiting. */
  say(topic, data) {
    const channel = this.#channels.get(topic);
    if (channel?.readyState !== "open" || channel.bufferedAmount > MOST_WAITING) return false;
    channel.send(data);
    return true;
  }

  /** What a section sends: "audio", "video" or "screen"; null for one to receive on. */
  kindOf(mid) {
    for (const [kind, transceiver] of this.#senders) if (transceiver.mid === mid) return kind;
    return null;
  }

  /** The receiving track of a section. */
  track(mid) {
    return this.#pc.getTransceivers().find((found) => found.mid === mid)?.receiver.track ?? null;
  }

  /** Have a section for each kind that may be published; one more than before is one offer. */
  allow(kinds) {
    for (const kind of Object.keys(MEDIA)) {
      if (!kinds.includes(kind)) continue;
      const known = this.#senders.get(kind);
      if (!known) {
        const sendEncodings = kind === "video" ? CAMERA_LAYERS : [];
        this.#senders.set(kind, this.#add(MEDIA[kind], { direction: "sendonly", sendEncodings }));
      } else if (known.currentDirection === "inactive") {
        // It was refused when it was offered, and may now be sent.
        this.#again = true;
        this.#offer();
      }
    }
  }

  /** Send a track, or nothing with null; needs no offer. False where nothing of this kind may be sent. */
  async send(kind, track) {
    const transceiver = this.#senders.get(kind);
    if (!transceiver) return false;
    await transceiver.sender.replaceTrack(track);
    return true;
  }

  /** Send only those layers of a section that anybody wants. */
  async useLayers({ mid, rids }) {
    const found = this.#pc.getTransceivers().find((transceiver) => transceiver.mid === mid);
    if (found) await sendLayers(found.sender, rids);
  }

  async takeAnswer({ id, sdp }) {
    if (id !== this.#pending || this.#closed) return;
    try {
      await this.#pc.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      this.#emit("failed", { error });
    }
    this.#pending = null;
    if (this.#again) this.#offer();
  }

  /** Look for another way through the network, keeping everything. */
  restartIce() {
    if (!this.#closed) this.#pc.restartIce();
  }

  stats() {
    return this.#pc.getStats();
  }

  close() {
    this.#closed = true;
    this.#endWatch();
    this.#pc.onnegotiationneeded = this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }

  #add(kind, init) {
    const transceiver = this.#pc.addTransceiver(kind, init);
    const names = this.#info[`${kind}_codecs`].map((name) => name.toLowerCase());
    // A dozen sections with every codec of the browser would be a description of a hundred kilobytes.
    const useful = RTCRtpReceiver.getCapabilities(kind)?.codecs.filter(({ mimeType }) => {
      const name = mimeType.split("/")[1].toLowerCase();
      return names.includes(name) || name === "rtx";
    });
    if (useful?.length) transceiver.setCodecPreferences?.(useful);
    return transceiver;
  }

  async #offer() {
    if (this.#closed || this.#pending !== null) {
      this.#again = true;
      return;
    }
    this.#again = false;
    const id = ++this.#offers;
    this.#pending = id;
    try {
      await this.#pc.setLocalDescription();
      const kinds = {};
      for (const [kind, { mid }] of this.#senders) if (mid !== null) kinds[mid] = kind;
      this.#emit("offer", { id, sdp: this.#pc.localDescription.sdp, kinds });
    } catch (error) {
      if (!this.#closed) this.#emit("failed", { error });
    }
  }

  #stateChanged() {
    const state = this.#pc.connectionState;
    if (state === "connected") this.dispatchEvent(new Event("connected"));
    if (state === "disconnected" || state === "failed") this.dispatchEvent(new Event("trouble"));
    if (state === "failed") this.#pc.restartIce();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
