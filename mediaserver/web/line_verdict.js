// What a tested line means, in plain words. Nothing here touches the page or the network.

// Sound alone takes about 60 kbit/s, a small picture 300, a good one 1500.
const SOUND_BPS = 100_000;
const SMALL_PICTURE_BPS = 400_000;
const GOOD_PICTURE_BPS = 1_500_000;

const NAMES = {
  udp: "Directly (UDP)",
  tcp: "Directly (TCP)",
  "turn-udp": "By relay (UDP)",
  "turn-tcp": "By relay (TCP)",
  "turn-tls": "By relay (TLS)",
};

/** How a way through the network is called. */
export function wayName(name) {
  return NAMES[name] ?? name;
}

/** {level: "good" | "fair" | "bad", text, reasons: [text]}. `devices`: {microphone, camera}, each true, false, or null where it is not known. */
export function verdict({ problem, ways, quality, speed }, devices) {
  const reasons = [];
  const worse = [];
  const note = (level, text) => {
    worse.push(level);
    reasons.push(text);
  };
  if (problem) return { level: "bad", text: "Your line could not be tested.", reasons: [problem] };
  const works = ways.filter(({ state }) => state === "works");
  if (!works.length) {
    note("bad", "Sound and picture find no way through this network. Try another one, or ask whoever runs it to let them pass.");
  } else {
    if (ways[0].state !== "works") note("fair", "The straight way is blocked here, so calls take a longer one.");
    lineReasons(quality, speed, note);
  }
  if (devices.microphone === false) note("bad", "Nobody would hear you: there is no microphone.");
  if (devices.camera === false) note("fair", "Nobody would see you: there is no camera.");
  const level = worse.includes("bad") ? "bad" : worse.includes("fair") ? "fair" : "good";
  return { level, text: TEXTS[level], reasons };
}

const TEXTS = {
  good: "Everything is ready for a call with picture.",
  fair: "You can call, but not everything is as good as it could be.",
  bad: "A call would not work well from here.",
};

function lineReasons(quality, speed, note) {
  if (quality) {
    if (quality.loss > 0.1) note("bad", `${percent(quality.loss)} of what is sent gets lost: words would be missing.`);
    else if (quality.loss > 0.03) note("fair", `${percent(quality.loss)} of what is sent gets lost: the picture may freeze for moments.`);
    if (quality.rttMs > 800) note("bad", "Everything arrives so late that people would talk at the same time.");
    else if (quality.rttMs > 300) note("fair", "Everything arrives late: leave the other side a moment to answer.");
    else if (quality.jitterMs > 100) note("fair", "The delay changes a lot. If you are on Wi-Fi, go nearer to it or use a cable.");
  }
  if (speed) {
    if (speed.bps < SOUND_BPS) note("bad", "The line is too slow for sound.");
    else if (speed.bps < SMALL_PICTURE_BPS) note("fair", "The line is fast enough for sound, but not for a picture.");
    else if (speed.bps < GOOD_PICTURE_BPS && !speed.enough) note("fair", "The line is fast enough for a small picture.");
  }
}

/** 0.034 as "3 %". */
export function percent(share) {
  return share > 0 && share < 0.005 ? "under 1 %" : `${Math.round(share * 100)} %`;
}

/** 2_400_000 as "2.4 Mbit/s". */
export function bitrate(bps) {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`;
}
