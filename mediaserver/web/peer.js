// One RTCPeerConnection, the polite side of perfect negotiation: an offer of the server always wins.
//
// Events: "offer" {id, sdp}, "answer" {id, sdp}, "candidate" {candidate, mid}, "connected", "trouble", "failed",
// "stream" (the remote stream got a track), "silent" (nothing comes any more).

import { watchFlow } from "./flow.js";
import { Voices } from "./voices.js";

const RESTART_AFTER_MS = 3000;
/** Checks that have found no way by then are helped by a relay. */
const RELAY_AFTER_MS = 2500;
/** A browser that has any candidate at all has its first one long before. */
const CANDIDATE_WITHIN_MS = 500;
const POLICIES = { bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" };

export const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
export const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };

// Steps by which browsers' own encoders scale down, too; every side of a usual camera stays even with them.
const SCALES = [1, 4 / 3, 2, 8 / 3, 4, 16 / 3, 8, 16];

// Counts over all connections of the page, so that an answer to a former call's offer fits none of this one's.
let offersMade = 0;

export class Peer extends EventTarget {
  remote = new MediaStream();
  /** Of others, where three or more talk. */
  #voices = new Voices();
  #pc;
  #local = new MediaStream();
  #audio = null;
  #video = null;
  #bounds = null;
  #pendingId = null;
  /** A candidate of our own was found. */
  #reachable = false;
  /** There is none, or no more: Firefox says so by an empty one, Chromium does not. */
  #exhausted = false;
  #knowsRelay = false;
  /** We want something that no answer has confirmed yet. */
  #unsettled = false;
  #negotiating = false;
  #closed = false;
  #queue = Promise.resolve();
  #restartTimer = 0;
  #endWatch;

  /** `video`: the direction that video begins with ("recvonly", "sendrecv"), or null for a call without picture;
   * `audio`: whether there is sound. */
  constructor({ iceServers = [], video = "recvonly", audio = true } = {}) {
    super();
    this.#pc = new RTCPeerConnection({ ...POLICIES, iceServers });
    if (audio) this.#audio = this.#pc.addTransceiver("audio", { direction: "sendrecv", streams: [this.#local] });
    if (video) this.#video = this.#pc.addTransceiver("video", { direction: video, streams: [this.#local] });
    // Whole messages, and text as it is typed (RFC 8865); their labels name what the other side joins.
    this.chat = this.#pc.createDataChannel("chat");
    this.typing = this.#pc.createDataChannel("t140", { protocol: "t140" });
    this.#pc.ontrack = ({ track, transceiver }) => {
      if (track.kind === "audio" && transceiver !== this.#audio) return this.#voices.play(track);
      this.remote.addTrack(track);
      this.dispatchEvent(new Event("stream"));
    };
    this.#pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate === "") this.#exhausted = true;
      if (!candidate?.candidate) return;
      this.#reachable = true;
      this.#emit("candidate", { candidate: candidate.candidate, mid: candidate.sdpMid });
    };
    this.#pc.onnegotiationneeded = () => this.#run(() => this.#offer());
    this.#pc.onconnectionstatechange = () => this.#connectionChanged();
    this.#endWatch = watchFlow(this.#pc, () => this.dispatchEvent(new Event("silent")));
  }

  get hasVideo() {
    return this.#video !== null;
  }

  /** Make the first offer; it leaves without waiting for candidates. Later ones are made when they are needed. */
  start() {
    if (this.#negotiating) return this.#queue;
    this.#negotiating = true;
    return this.#run(() => this.#offer());
  }

  /** ICE servers that became known after the first offer serve from the next ICE restart on: at once for a page whose
   * network lets nothing else through. */
  useIceServers(iceServers) {
    if (!iceServers.length || this.#closed) return;
    this.#pc.setConfiguration({ ...POLICIES, iceServers });
    this.#knowsRelay = true;
    setTimeout(() => {
      if (this.#pc.iceConnectionState === "checking") this.restartIce();
    }, RELAY_AFTER_MS);
  }

  /** The other side has a picture by now: an offer adds it to a call that had none. */
  addVideo() {
    if (this.#video || this.#closed) return;
    this.#unsettled = true;
    this.#video = this.#pc.addTransceiver("video", { direction: "recvonly", streams: [this.#local] });
  }

  /** Put a microphone's track in, or take it away with null; needs no negotiation. */
  async sendAudio(track) {
    await this.#audio?.sender.replaceTrack(track);
  }

  /** Put a camera's track in, or take it away with null. The first track makes the section two-way by an offer. */
  async sendVideo(track) {
    if (!this.#video || this.#closed) return;
    await this.#video.sender.replaceTrack(track);
    await this.#fitPicture();
    if (track && this.#video.direction !== "sendrecv") {
      this.#unsettled = true;
      this.#video.direction = "sendrecv";
    }
  }

  /** The most that the other side can show (a `picture` message); what is sent is scaled down to it. */
  async limitPicture(bounds) {
    this.#bounds = bounds;
    await this.#fitPicture();
  }

  /** An offer of the server; ours, if one is under way, is taken back (glare) and made again afterwards. */
  takeOffer({ id, sdp }) {
    return this.#run(async () => {
      if (this.#pendingId !== null) this.#unsettled = true;
      this.#pendingId = null;
      await this.#pc.setRemoteDescription({ type: "offer", sdp });
      await this.#pc.setLocalDescription();
      this.#emit("answer", { id, sdp: this.#pc.localDescription.sdp });
      // To the browser nothing is left to negotiate now (its answer fits the server's offer), but to us it is.
      if (this.#unsettled) await this.#offer();
    });
  }

  /** The server's answer; one to an offer that was taken back is ignored. */
  takeAnswer({ id, sdp }) {
    return this.#run(async () => {
      if (id !== this.#pendingId || this.#pc.signalingState !== "have-local-offer") return;
      this.#pendingId = null;
      if (await this.#isStranded()) {
        this.#knowsRelay = false; // Once: who reaches no relay either has no candidate for the second offer.
        await this.#pc.setLocalDescription({ type: "rollback" });
        return this.#offer();
      }
      this.#unsettled = false;
      await this.#pc.setRemoteDescription({ type: "answer", sdp });
    });
  }

  /** Look for another way through the network, keeping the call. */
  restartIce() {
    if (!this.#closed) this.#pc.restartIce();
  }

  stats() {
    return this.#pc.getStats();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#restartTimer);
    this.#endWatch();
    this.#voices.close();
    this.#pc.onnegotiationneeded = this.#pc.ontrack = this.#pc.onicecandidate = null;
    this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }

  async #fitPicture() {
    const sender = this.#video?.sender;
    const track = sender?.track;
    if (!track || !this.#bounds || this.#closed) return;
    const parameters = sender.getParameters();
    // With several encodings the server chooses among them.
    if (parameters.encodings?.length !== 1) return;
    Object.assign(parameters.encodings[0], fittingEncoding(this.#bounds, track.getSettings()));
    try {
      await sender.setParameters(parameters);
    } catch (error) {
      console.warn("the picture cannot be made smaller", error);
    }
  }

  /** A browser that may use a relay only had none for its first offer, but has one now. With the answer to that offer Firefox's ICE
   * would fail at once for want of a candidate of our own, and after that it often sends nothing any more. Chromium's waits for the
   * restart, and should: it would not make a rolled back offer again with the same sections. */
  async #isStranded() {
    if (this.#reachable || this.#pc.remoteDescription || !this.#knowsRelay) return false;
    await firstCandidate(this.#pc);
    return this.#exhausted && !this.#reachable && !this.#closed;
  }

  async #offer() {
    if (!this.#negotiating || this.#pc.signalingState !== "stable") return;
    const offer = await this.#pc.createOffer();
    if (this.#closed || this.#pc.signalingState !== "stable") return;
    await this.#pc.setLocalDescription(offer);
    this.#pendingId = ++offersMade;
    this.#emit("offer", { id: this.#pendingId, sdp: this.#pc.localDescription.sdp });
  }

  // Descriptions are applied one after another: the browser would refuse them in the middle of another.
  #run(step) {
    this.#queue = this.#queue.then(async () => {
      if (this.#closed) return;
      try {
        await step();
      } catch (error) {
        if (this.#closed) return;
        console.error("negotiation failed", error);
        this.#emit("failed", { error });
      }
    });
    return this.#queue;
  }

  #connectionChanged() {
    const state = this.#pc.connectionState;
    clearTimeout(this.#restartTimer);
    if (state === "connected") this.dispatchEvent(new Event("connected"));
    if (state === "disconnected") {
      this.dispatchEvent(new Event("trouble"));
      this.#restartTimer = setTimeout(() => this.restartIce(), RESTART_AFTER_MS);
    }
    if (state === "failed") {
      this.dispatchEvent(new Event("trouble"));
      this.restartIce();
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Wait until there is a candidate, or that there is none is known, or long enough. */
function firstCandidate(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    pc.addEventListener("icecandidate", resolve, { once: true });
    setTimeout(resolve, CANDIDATE_WITHIN_MS);
  });
}

/** What a camera of `settings` (width, height, frameRate) must be sent with to stay within `bounds`. */
function fittingEncoding(bounds, { width = 1280, height = 720, frameRate = 30 }) {
  const area = (scale) => Math.ceil(width / scale / 16) * Math.ceil(height / scale / 16);
  const fits = (scale) =>
    width / scale <= (bounds.max_width ?? Infinity) &&
    height / scale <= (bounds.max_height ?? Infinity) &&
    area(scale) <= (bounds.max_macroblocks ?? Infinity);
  const scale = SCALES.find(fits) ?? SCALES.at(-1);
  const frames = Math.min(bounds.max_frames_per_s ?? Infinity, (bounds.max_macroblocks_per_s ?? Infinity) / area(scale));
  const encoding = { scaleResolutionDownBy: scale };
  if (frames < frameRate) encoding.maxFramerate = Math.max(1, Math.floor(frames));
  if (bounds.max_bps) encoding.maxBitrate = bounds.max_bps;
  return encoding;
}

/** A sentence for a person about why a microphone or camera cannot be had. */
export function deviceProblem(error, device) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return `Your browser does not let this page use the ${device}. Please allow it in the address bar and try again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${device} was found. Please connect one and try again.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${device} is used by another program. Please close that and try again.`;
    case "TypeError":
      return `Browsers give the ${device} to secure pages only: please open this page by https.`;
    default:
      return `The ${device} could not be started.`;
  }
}

/** `getUserMedia` that fails in the same way where a page is not secure and has no `mediaDevices` at all. */
export async function capture(constraints) {
  if (!navigator.mediaDevices) throw new TypeError("no media devices on an insecure page");
  return navigator.mediaDevices.getUserMedia(constraints);
}
