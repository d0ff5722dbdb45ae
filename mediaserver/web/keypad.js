// The keys of a phone, for menus that ask for digits: by pointer, by Tab and Enter, or simply typed while it is open.

import { button, busy, el, say, show } from "./ui.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const NAMES = { "*": "Star", "#": "Hash" };

export class Keypad {
  #press;
  #usable = false;
  #pressed = el("output", { class: "pressed", "aria-label": "Keys pressed" });

  /** `press` is told each key, one of 0 to 9, * and #. */
  constructor(press) {
    this.#press = press;
    this.button = button("Keypad", "keypad", "control", () => this.#setOpen(this.element.hidden));
    this.button.setAttribute("aria-controls", "keypad");
    const keys = KEYS.map((key) =>
      el("button", { type: "button", class: "button key", text: key, "aria-label": NAMES[key], onclick: () => this.#take(key) }),
    );
    this.element = el(
      "div",
      { class: "keypad", id: "keypad", role: "group", "aria-label": "Keys" },
      this.#pressed,
      el("div", { class: "keys" }, ...keys),
    );
    this.#setOpen(false);
    document.addEventListener("keydown", (event) => this.#typed(event));
  }

  /** `offered`: whether there is a call that it may be opened for; `usable`: whether a key would be heard now. */
  render({ offered, usable, digits }) {
    this.#usable = usable;
    show(this.button, offered);
    if (!offered && !this.element.hidden) this.#setOpen(false);
    for (const key of this.element.querySelectorAll("button")) busy(key, !usable);
    say(this.#pressed, digits);
  }

  #take(key) {
    if (this.#usable) this.#press(key);
  }

  #setOpen(open) {
    show(this.element, open);
    this.button.setAttribute("aria-expanded", String(open));
  }

  #typed(event) {
    // A page that has let go of the keypad hears no keys: it is not in the document any more.
    if (this.element.hidden || !this.element.isConnected) return;
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, textarea")) return;
    if (event.key === "Escape") {
      this.#setOpen(false);
      this.button.focus();
    } else if (KEYS.includes(event.key) && !event.repeat) {
      this.#take(event.key);
    }
  }
}
