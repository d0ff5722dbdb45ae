// The page of a room: an invitation, a look into the mirror, the room, and the way out.

import { BASE } from "./base.js";
import { Devices } from "./devices.js";
import { lobby } from "./lobby.js";
import { Room } from "./room.js";
import { RoomView } from "./room_view.js";
import { endingText } from "./room_words.js";

const STORED = "mediaserver.room";
const root = document.getElementById("room");
const devices = new Devices();

/** The token of a link: `/room#token=…`, so that no server on the way writes it down; or the token itself. */
function tokenIn(text) {
  const found = /[#?&]token=([^&\s]+)/.exec(text);
  if (found) return decodeURIComponent(found[1]);
  return /^[A-Za-z0-9._~+/=-]{16,}$/.test(text.trim()) ? text.trim() : null;
}

function invitation() {
  const token = tokenIn(location.hash) ?? tokenIn(location.search);
  // It does not stay in the address bar, where shoulders and screenshots find it; a reload of this tab still has it.
  if (token) {
    sessionStorage.setItem(STORED, token);
    history.replaceState(null, "", location.pathname);
  }
  return token ?? sessionStorage.getItem(STORED);
}

function enterLobby(notice = "", { again = false } = {}) {
  document.title = "Join the room";
  root.className = "root page narrow";
  const view = lobby({ devices, token: invitation(), tokenIn, notice, again, onJoin: join });
  root.replaceChildren(view.element);
  view.focus();
}

async function join(token) {
  sessionStorage.setItem(STORED, token);
  const room = new Room(BASE, token);
  const view = new RoomView({ room, devices, onLeave: () => leave("You have left the room.") });
  let over = false;

  function leave(text) {
    if (over) return;
    over = true;
    removeEventListener("pagehide", hide);
    room.leave();
    view.close();
    devices.release();
    enterLobby(text, { again: true });
  }

  // A page that goes away leaves at once; the others need not look at a frozen picture.
  const hide = () => room.leave();
  addEventListener("pagehide", hide);
  room.addEventListener("over", ({ detail }) => {
    if (detail.code === "token") sessionStorage.removeItem(STORED);
    leave(endingText(detail));
  });
  room.addEventListener("problem", ({ detail }) => {
    // Before anything was agreed on, a refusal is the end.
    if (!view.connected && detail.ref != null) leave(endingText(detail));
  });
  root.className = "root page room";
  root.replaceChildren(view.element);
  await view.begin();
  if (!over) room.open();
}

enterLobby();
