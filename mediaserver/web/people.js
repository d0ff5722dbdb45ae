// The list of who is in a room, and what each of them shows.

import { el, say } from "./ui.js";

const SHOWN = { audio: "sound", video: "camera", screen: "screen" };

export class People {
  element = el("ul", { class: "people", "aria-label": "People in the room", tabindex: "0" });
  #rows = new Map();

  render(room, devices) {
    const own = ["audio", "video", "screen"].filter((kind) =>
      ({ audio: devices.voice, video: devices.camera, screen: devices.screen })[kind]);
    const everybody = [
      { id: room.info?.participant ?? "", name: "You", publishes: own, member: true },
      ...[...room.people.values()].sort((one, two) => one.name.localeCompare(two.name)),
    ];
    const ids = new Set(everybody.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    everybody.forEach((person, index) => {
      if (!this.#rows.has(person.id)) {
        this.#rows.set(person.id, el("li", {}, el("span", { class: "who" }), el("span", { class: "shows" })));
      }
      const row = this.#rows.get(person.id);
      say(row.firstChild, person.name || "Somebody");
      say(row.lastChild, shows(person, room.speaking.has(person.id)));
      row.classList.toggle("speaking", room.speaking.has(person.id));
      if (this.element.children[index] !== row) this.element.insertBefore(row, this.element.children[index] ?? null);
    });
  }

  focus() {
    this.element.focus();
  }
}

function shows({ publishes, member }, speaking) {
  const parts = [speaking ? "speaks" : "", ...publishes.map((kind) => SHOWN[kind])].filter(Boolean);
  if (!publishes.length) parts.push(member ? "listens" : "publishes nothing now");
  return parts.join(", ");
}
