// Whether a microphone hears anything. Event: "change", once it does.

const LOUD = 0.02;
const LOOK_MS = 100;

export class Level extends EventTarget {
  heard = false;
  #context = null;
  #timer = 0;

  /** Listen to a stream from now on. */
  listen(stream) {
    this.stop();
    this.#context = new AudioContext();
    // A browser may hold it back until somebody has pressed something, which is what began the test.
    this.#context.resume().catch(() => {});
    const analyser = new AnalyserNode(this.#context, { fftSize: 2048 });
    this.#context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      if (samples.some((sample) => Math.abs(sample) > LOUD)) this.#hears();
    }, LOOK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#context?.close();
    this.#context = null;
    this.heard = false;
  }

  #hears() {
    clearInterval(this.#timer);
    this.heard = true;
    this.dispatchEvent(new Event("change"));
  }
}
