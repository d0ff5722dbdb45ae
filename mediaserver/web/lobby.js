// Before a room: the invitation, one's own picture, and what to begin with.

import { busy, button, el, icon, say, show, toggle } from "./ui.js";

/**
 * `token` where there is an invitation already; `again` after a room was left. `onJoin(token)` is called once.
 * Gives `element` and `focus`.
 */
export function lobby({ devices, token, tokenIn, notice, again, onJoin }) {
  const picture = el("video", { class: "local", playsinline: true, autoplay: true, "aria-label": "Your own picture", hidden: true });
  picture.muted = true;
  const nobody = el("div", { class: "placeholder" }, el("span", { class: "avatar" }, icon("person")),
    el("p", { class: "caption", text: "Your camera is off" }));
  const mirror = el("div", { class: "stage mirror" }, picture, nobody);
  const invitation = el("input", {
    id: "invitation", name: "invitation", autocomplete: "off", autocapitalize: "none", spellcheck: "false", required: true,
    "aria-describedby": "invitation-problem",
  });
  const problem = el("p", { class: "status problem", id: "invitation-problem", role: "alert" });
  const status = el("p", { class: "status", role: "status", "aria-live": "polite", text: notice });
  const microphoneButton = button("Microphone", "mute", "control", () => { muted = !muted; render(); });
  const cameraButton = button("Camera", "call", "control", toggleCamera);
  const joinButton = el("button", { type: "submit", class: "button primary", text: again ? "Join again" : "Join the room" });
  const element = el(
    "form",
    { class: "card lobby", "aria-label": "Join the room", onsubmit: submit },
    el("h1", { text: again ? "Outside the room" : "Join the room" }),
    status,
    mirror,
    el("div", { class: "controls", role: "group", "aria-label": "Begin with" }, microphoneButton, cameraButton),
    ...(token ? [] : [el("label", { for: "invitation", text: "Invitation (link or token)" }), invitation]),
    problem,
    joinButton,
  );
  let muted = devices.muted;
  let wanted = false;
  let gone = false;

  function render() {
    if (picture.srcObject?.getVideoTracks()[0] !== devices.camera) {
      picture.srcObject = devices.camera ? new MediaStream([devices.camera]) : null;
    }
    show(picture, Boolean(devices.camera));
    show(nobody, !devices.camera);
    toggle(microphoneButton, !muted);
    toggle(cameraButton, Boolean(devices.camera));
    if (devices.problem) say(status, devices.problem);
    show(status, Boolean(status.textContent));
    status.classList.toggle("problem", Boolean(devices.problem));
    show(problem, Boolean(problem.textContent));
  }

  async function toggleCamera() {
    if (wanted) return;
    if (devices.camera) {
      devices.close("camera");
      return;
    }
    wanted = true;
    busy(cameraButton, true);
    await devices.openCamera();
    wanted = false;
    busy(cameraButton, false);
  }

  async function submit(event) {
    event.preventDefault();
    const found = token ?? tokenIn(invitation.value);
    if (!found) {
      say(problem, "This is no invitation to a room. Please paste the whole link.");
      render();
      invitation.focus();
      return;
    }
    if (gone) return;
    gone = true;
    busy(joinButton, true);
    devices.muted = muted;
    // Also for who begins muted: the browser asks now and not in the middle of a sentence.
    await devices.openMicrophone();
    devices.removeEventListener("change", render);
    onJoin(found);
  }

  devices.addEventListener("change", render);
  render();
  return { element, focus: () => (token ? joinButton : invitation).focus() };
}
