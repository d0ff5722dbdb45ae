// A soft ringing tone, made on the spot; browsers let it sound once the agent has pressed anything on the page.

export class Ring {
  #context = null;
  #timer = 0;

  start() {
    if (this.#timer) return;
    this.#context ??= new AudioContext();
    this.#context.resume().catch(() => {});
    this.#beep();
    this.#timer = setInterval(() => this.#beep(), 2500);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  #beep() {
    const context = this.#context;
    if (context.state !== "running") return;
    for (const [offset, frequency] of [[0, 660], [0.22, 880]]) {
      const tone = context.createOscillator();
      const volume = context.createGain();
      const at = context.currentTime + offset;
      tone.frequency.value = frequency;
      volume.gain.setValueAtTime(0, at);
      volume.gain.linearRampToValueAtTime(0.12, at + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.001, at + 0.4);
      tone.connect(volume).connect(context.destination);
      tone.start(at);
      tone.stop(at + 0.45);
    }
  }
}
