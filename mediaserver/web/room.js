// A member of a room: who is there, who is seen in which slot, who speaks; what one shows and wants to see.
//
//   const room = new Room(location.origin, token).open();
//   room.addEventListener("change", () => draw(room));
//   await room.publish("audio", microphoneTrack);
//
// Events: "change" (anything below), "connected", "trouble", "problem" (detail: {code, message, ref}: a message was
// refused), "refused" (detail: why by kind: nothing is taken of it), "said" (detail: {topic, from, data}:
// `from` is a participant by the server's word), "over" (detail:
// {code, message}; nothing more will come).

import { hurryBack } from "./flow.js";
import { RoomPeer } from "./room_peer.js";
import { Session } from "./session.js";

export class Room extends EventTarget {
  /** The room as the server describes it: name, participant (one's own id), slots, moderate. Null before it is known. */
  info = null;
  /** What one may publish. */
  allowed = [];
  /** Others by id: {id, name, publishes, member}. */
  people = new Map();
  /** Receiving sections by mid: {mid, kind, participant, track}. */
  slots = new Map();
  active = null;
  speaking = new Set();
  /** How the line is doing: good, fair, poor, bad. */
  quality = "good";
  /** The server is out of reach for the moment. */
  away = false;
  #session;
  #peer = null;
  #tracks = new Map();
  #topics = new Map();
  #subscriptions = 0;

  /** `server` is the server's base URL; the token names the room and what may be done in it. */
  constructor(server, token) {
    super();
    this.#session = new Session(server, { role: "member", token });
    this.#session.addEventListener("message", ({ detail }) => this.#take(detail));
    this.#session.addEventListener("away", () => hurryBack(this.#session, this.#peer));
    for (const type of ["waiting", "away"]) this.#session.addEventListener(type, () => this.#setAway(true));
    this.#session.addEventListener("back", () => this.#setAway(false));
    this.#session.addEventListener("over", ({ detail }) => this.#over(detail));
  }

  /** Join. What was given to `publish` before is shown from the beginning. */
  open() {
    this.#session.open();
    return this;
  }

  /** Publish a track of "audio", "video" (a camera) or "screen", or nothing of that kind with null. */
  async publish(kind, track) {
    if ((this.#tracks.get(kind) ?? null) === track) return;
    this.#tracks.set(kind, track);
    if (!this.#peer) return;
    await this.#peer.send(kind, track);
    this.#tellPublished();
  }

  /**
   * Say what to receive, in place of what was said before: {participant, kind, width, height, priority, paused} each.
   * With `fill` the slots for pictures that are left over go to screens and to those who spoke last, as they do for who
   * says nothing. Sound is always that of those who speak, beside those who are asked for.
   */
  subscribe(wants, { fill = true } = {}) {
    this.#session.send({ type: "subscribe", id: ++this.#subscriptions, wants, fill });
  }

  /** Hear what others say on a topic, and say something there. The first one costs nothing if it comes before `open`. */
  openTopic(topic, options = {}) {
    if (this.#topics.has(topic)) return;
    this.#topics.set(topic, options);
    this.#peer?.openChannel(topic, options);
  }

  /** Send text or bytes to everybody on a topic; false where that is not possible now. */
  say(topic, data) {
    return this.#peer?.say(topic, data) ?? false;
  }

  /** As a moderator: say what somebody may publish, of "audio", "video", "screen" and "data". */
  permit(participant, publish) {
    this.#session.send({ type: "permit", participant, publish });
  }

  /** Go. */
  leave() {
    this.#session.send({ type: "hangup" });
    this.#end();
    this.#session.close();
  }

  stats() {
    return this.#peer?.stats();
  }

  #take(message) {
    switch (message.type) {
      case "welcome":
        return this.#welcome(message);
      case "answer":
        return this.#peer?.takeAnswer(message);
      case "restart_ice":
        // The way that media took is going: the server asks for another one.
        return this.#peer?.restartIce();
      case "layers":
        return this.#peer?.useLayers(message);
      case "participants":
        for (const person of message.present) this.people.set(person.id, person);
        for (const id of message.left) this.people.delete(id);
        break;
      case "slots":
        for (const slot of message.slots) {
          this.slots.set(slot.mid, { ...slot, track: this.#peer?.track(slot.mid) ?? null });
        }
        break;
      case "speakers":
        this.active = message.active;
        this.speaking = new Set(message.speaking);
        break;
      case "permitted":
        this.allowed = message.publish;
        this.#peer?.allow(message.publish);
        for (const [kind, track] of this.#tracks) if (track) this.#peer?.send(kind, track);
        this.#refused(message.refused);
        break;
      case "quality":
        this.quality = message.level;
        break;
      case "ended":
        return this.#over({ code: message.reason, message: "" });
      case "error":
        return this.dispatchEvent(new CustomEvent("problem", { detail: message }));
      default:
        return;
    }
    this.dispatchEvent(new Event("change"));
  }

  async #welcome({ room, ice_servers: iceServers }) {
    this.info = room;
    this.away = false;
    this.allowed = room.publish;
    const servers = iceServers.map(({ urls, username, credential }) =>
      username ? { urls, username, credential } : { urls });
    const peer = (this.#peer = new RoomPeer(room, servers));
    for (const [topic, options] of this.#topics) peer.openChannel(topic, options);
    peer.addEventListener("said", ({ detail }) => this.dispatchEvent(new CustomEvent("said", { detail })));
    peer.addEventListener("offer", ({ detail }) => this.#session.send({ type: "offer", ...detail }));
    // Media and session mostly take the same way.
    peer.addEventListener("silent", () => this.#session.probe());
    for (const type of ["connected", "trouble"]) {
      peer.addEventListener(type, () => this.dispatchEvent(new Event(type)));
    }
    peer.addEventListener("failed", ({ detail }) => this.#over({ code: "failed", message: String(detail.error) }));
    for (const [kind, track] of this.#tracks) await peer.send(kind, track);
    this.#tellPublished();
    this.dispatchEvent(new Event("change"));
  }

  #refused(reasons) {
    // Of sections to receive on the page is told as of pictures: that is what a full line has no room for.
    const kinds = Object.entries(reasons).map(([mid, reason]) => [this.#peer?.kindOf(mid) ?? "received", reason]);
    if (!kinds.length) return;
    this.dispatchEvent(new CustomEvent("refused", { detail: Object.fromEntries(kinds) }));
  }

  #setAway(away) {
    this.away = away;
    if (away) this.dispatchEvent(new Event("trouble"));
    this.dispatchEvent(new Event("change"));
  }

  #tellPublished() {
    const shown = (kind) => Boolean(this.#tracks.get(kind));
    this.#session.send({ type: "publish", audio: shown("audio"), video: shown("video"), screen: shown("screen") });
  }

  #end() {
    this.#peer?.close();
    this.#peer = null;
  }

  #over(reason) {
    this.#end();
    this.#session.close();
    this.dispatchEvent(new CustomEvent("over", { detail: reason }));
  }
}
