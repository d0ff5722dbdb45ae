// A member of a room: who is there, who is seen in which slot, who speaks; what one shows and wants to see.
//
//   const room = new Room(location.origin, token).open();
//   room.addEventListener("change", () => draw(room));
//   await room.publish("audio", microphoneTrack);
//
// Events: "change" (anything below), "connected", "trouble", "over" (detail: {code, message}; nothing more will come).

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
  #session;
  #peer = null;
  #tracks = new Map();
  #subscriptions = 0;

  /** `server` is the server's base URL; the token names the room and what may be done in it. */
  constructor(server, token) {
    super();
    this.#session = new Session(server, { role: "member", token });
    this.#session.addEventListener("message", ({ detail }) => this.#take(detail));
    this.#session.addEventListener("away", () => this.dispatchEvent(new Event("trouble")));
    this.#session.addEventListener("over", ({ detail }) => this.#over(detail));
  }

  /** Join. What was given to `publish` before is shown from the beginning. */
  open() {
    this.#session.open();
    return this;
  }

  /** Publish a track of "audio", "video" (a camera) or "screen", or nothing of that kind with null. */
  async publish(kind, track) {
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

  /** As a moderator: say what somebody may publish, of "audio", "video", "screen" and "data". */
  permit(participant, publish) {
    this.#session.send({ type: "permit", participant, publish });
  }

  /** The slot in which somebody is seen or heard, if there is one. */
  slotOf(participant, kind) {
    return [...this.slots.values()].find((slot) => slot.participant === participant && slot.kind === kind) ?? null;
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
    this.allowed = room.publish;
    const servers = iceServers.map(({ urls, username, credential }) =>
      username ? { urls, username, credential } : { urls });
    const peer = (this.#peer = new RoomPeer(room, servers));
    peer.addEventListener("offer", ({ detail }) => this.#session.send({ type: "offer", ...detail }));
    for (const type of ["connected", "trouble"]) {
      peer.addEventListener(type, () => this.dispatchEvent(new Event(type)));
    }
    peer.addEventListener("failed", ({ detail }) => this.#over({ code: "failed", message: String(detail.error) }));
    for (const [kind, track] of this.#tracks) await peer.send(kind, track);
    this.#tellPublished();
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
