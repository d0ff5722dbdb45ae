// Further voices of a call in which three or more talk: each comes as a track of its own, and is played beside the stream.

/** Beside the first one. More than that come as one. */
export const MOST_VOICES = 7;

export class Voices {
  #players = new Set();
  /** Ends the wait for a gesture. */
  #waiting = null;

  play(track) {
    const player = new Audio();
    player.srcObject = new MediaStream([track]);
    this.#players.add(player);
    track.addEventListener("ended", () => this.#drop(player));
    this.#start();
  }

  close() {
    this.#waiting?.abort();
    this.#players.forEach((player) => this.#drop(player));
  }

  #drop(player) {
    player.srcObject = null;
    this.#players.delete(player);
  }

  // A page that may not play yet may after the next thing that its user does.
  #start() {
    for (const player of this.#players) {
      if (player.paused) player.play().catch((error) => error.name === "NotAllowedError" && this.#wait());
    }
  }

  #wait() {
    if (this.#waiting && !this.#waiting.signal.aborted) return;
    this.#waiting = new AbortController();
    const { signal } = this.#waiting;
    for (const gesture of ["pointerdown", "keydown"]) {
      document.addEventListener(gesture, () => (this.#waiting.abort(), this.#start()), { signal, capture: true });
    }
  }
}
