// Small pieces that the pages are put together from. Text is always set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

const HANDSET = "M6.500 4h2.300l1.500 4-2 1.500a11 11 0 0 0 6.200 6.200l1.500-2 4 1.500v2.300a2 2 0 0 1-2.200 2A16 16 0 0 1 4.500 6.200 2 2 0 0 1 6.500 4z";

// Paths on a 24 x 24 grid, drawn with a round 2-unit stroke.
const ICONS = {
  call: ["M15 10l5-3v10l-5-3", "M4 7.5A1.5 1.5 0 0 1 5.500 6h8A1.500 1.500 0 0 1 15 7.500v9a1.500 1.500 0 0 1-1.500 1.500h-8A1.500 1.500 0 0 1 4 16.500z"],
  mute: ["M12 4a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V7a3 3 0 0 1 3-3z", "M6 11a6 6 0 0 0 12 0", "M12 17v3"],
  answer: [HANDSET],
  hangup: [HANDSET],
  close: ["M6 6l12 12", "M18 6L6 18"],
  keypad: ["M6 5h.01M12 5h.01M18 5h.01", "M6 11h.01M12 11h.01M18 11h.01", "M6 17h.01M12 17h.01M18 17h.01"],
  chat: ["M4 5h16v11h-9l-5 4v-4H4z"],
  typing: ["M3 6h18v12H3z", "M7 10h.01M11 10h.01M15 10h.01", "M8 14h8"],
  muted: ["M12 4a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V7a3 3 0 0 1 3-3z", "M6 11a6 6 0 0 0 12 0", "M12 17v3", "M4 4l16 16"],
  people: ["M9 12a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7z", "M2.500 19.500c.700-3.300 3.300-5 6.500-5s5.800 1.700 6.500 5", "M16 5.300a3.500 3.500 0 0 1 0 6.400", "M18 14.900c1.900.700 3.100 2.300 3.500 4.600"],
  pin: ["M9 4h6l-1 6 3 3v2H7v-2l3-3z", "M12 15v5"],
  screen: ["M3 5h18v11H3z", "M8 20h8", "M12 16v4"],
  person: ["M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8z", "M4.500 20.500c.800-4 3.800-6 7.500-6s6.700 2 7.500 6"],
};

/** An element with attributes (`text` and `on<event>` are special) and children. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A decorative icon. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: `icon ${name}`, "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** A button with an icon and a visible label, which is its accessible name. */
export function button(label, iconName, kind, onclick) {
  const attributes = { type: "button", class: `button ${kind}`, onclick };
  return el("button", attributes, icon(iconName), el("span", { class: "label", text: label }));
}

/** A toggle button: pressed means that what its name says is in force. */
export function toggle(element, pressed) {
  element.setAttribute("aria-pressed", String(pressed));
}

/** Looks and reads as disabled, but keeps the keyboard's focus, which `disabled` would throw away. */
export function busy(element, working) {
  element.setAttribute("aria-disabled", String(working));
}

/** Show or hide; says whether that changed anything. */
export function show(element, visible) {
  if (element.hidden === !visible) return false;
  element.hidden = !visible;
  return true;
}

/** Set text only when it differs, so that a live region speaks once. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
