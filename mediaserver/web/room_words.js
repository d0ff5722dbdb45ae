// Sentences for people: why a room is over, what happened to what one shows, and who came and went.

const LOST = "The connection was lost. Please join again.";

const ENDINGS = {
  bad_offer: "Your browser and our server could not agree on sound and picture. Please try another browser.",
  closed: "The room was closed.",
  consent_expired: LOST,
  draining: "The server takes nobody in for a moment. Please try again shortly.",
  dtls_failed: LOST,
  failed: "Your browser and our server could not agree on sound and picture. Please try another browser.",
  internal: "Something went wrong on our side. Please join again.",
  limit: "The room is full at the moment, or the line has no room for one more. Please try again later.",
  lost: LOST,
  never_connected: "The room could not be reached from your network. Please try another network.",
  origin: "Rooms may not be joined from this page.",
  refused: "The room could not be joined. Please try again.",
  resume: "The connection was lost for too long. Please join again.",
  session_lost: LOST,
  shutdown: "The server was restarted. Please join again.",
  token: "This invitation is not valid, or not any more. Please ask for a new one.",
  unreachable: "The server cannot be reached. Please check your connection and try again.",
};

/** Why a session or a room is over: {code, message}. */
export function endingText({ code, message }) {
  return ENDINGS[code] ?? (message || "The room was left.");
}

const REFUSED = {
  audio: { not_permitted: "You may not speak in this room." },
  video: {
    not_permitted: "You may not show a camera in this room.",
    bandwidth: "There is not enough bandwidth for pictures: you take part by sound only.",
  },
  screen: {
    not_permitted: "You may not share a screen in this room.",
    bandwidth: "There is not enough bandwidth for your screen at the moment. Please try again later.",
  },
  received: { bandwidth: "There is not enough bandwidth for pictures: you take part by sound only." },
};

/** Why nothing is taken of a kind; empty where there is nothing to say to a person. */
export function refusedText(kind, reason) {
  return REFUSED[kind]?.[reason] ?? "";
}

const TAKEN = {
  audio: "You may not speak any more.",
  video: "Your camera is not shown any more: you may not show it now.",
  screen: "Your screen is not shared any more: you may not share it now.",
  data: "You may read the chat, but not write.",
};
const GIVEN = {
  audio: "You may speak now.",
  video: "You may show your camera now.",
  screen: "You may share your screen now.",
  data: "You may write in the chat now.",
};

/** What a change of what one may publish means. */
export function permittedText(before, after) {
  const lost = before.filter((kind) => !after.includes(kind)).map((kind) => TAKEN[kind]);
  const won = after.filter((kind) => !before.includes(kind)).map((kind) => GIVEN[kind]);
  return [...lost, ...won].join(" ");
}

/** Who came and who went, in one sentence each; of many only the number. */
export function comingsText(came, left) {
  return [sentence(came, "is here now", "are here now"), sentence(left, "has left", "have left")]
    .filter(Boolean).join(" ");
}

function sentence(names, one, several) {
  if (!names.length) return "";
  if (names.length > 3) return `${names.length} people ${several}.`;
  return `${names.join(", ")} ${names.length === 1 ? one : several}.`;
}
