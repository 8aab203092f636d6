// The camera of a scanner: reads QR codes from it until it is stopped.

/** How long, and in how many looks, a code has to be out of sight before it counts as shown anew: one that stays before
 * the camera is not read again, as after its check-in was undone, also where looks are slow or one in between fails. */
const GONE_MS = 2000;
const GONE_LOOKS = 5;
/** Between two looks; a slow device looks half of the time at most, and has the rest for the page. */
const PAUSE_MS = 80;
/** The wider side of what is looked at: a code of a ticket is read from a third of that. */
const WIDTH = 960;

/** The browser's own reader, or one in JavaScript where it has none. */
async function newReader() {
  const { BarcodeDetector } = /** @type {any} */ (globalThis);
  const formats = ["qr_code"];
  const native = await BarcodeDetector?.getSupportedFormats().catch(() => []);
  if (native?.includes("qr_code")) return new BarcodeDetector({ formats });
  const made = await import(`${new URL("qr/decode.js", import.meta.url)}`);
  return new made.BarcodeDetector({ formats });
}

export class Camera {
  /** @type {MediaStream | null} */
  #stream = null;
  #onCode;
  #onEnd;
  /** While it is true nothing is read. */
  paused = false;

  /**
   * @param {(text: string) => void} onCode Called once for each time that a code comes into sight
   * @param {() => void} onEnd Called when it ends by itself, as where the device takes the camera away
   */
  constructor(onCode, onEnd) {
    this.#onCode = onCode;
    this.#onEnd = onEnd;
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.playsInline = true;
  }

  get #track() {
    return this.#stream?.getVideoTracks()[0];
  }

  /** Rejected with a DOMException: `NotAllowedError` where people or the browser refuse it, `NotFoundError` without one. */
  async start() {
    const wanted = { facingMode: { ideal: "environment" }, width: { ideal: 1280 }, height: { ideal: 720 } };
    const [stream, reader] = await Promise.all([navigator.mediaDevices.getUserMedia({ video: wanted }), newReader()]);
    this.#stream = stream;
    this.#track?.addEventListener("ended", () => {
      this.stop();
      this.#onEnd();
    });
    this.video.srcObject = stream;
    await this.video.play();
    this.#look(reader, stream);
  }

  stop() {
    this.#stream?.getTracks().forEach((each) => each.stop());
    this.#stream = null;
    this.video.srcObject = null;
  }

  /** Whether there is a light that can be switched on. */
  get hasTorch() {
    return Boolean(/** @type {any} */ (this.#track?.getCapabilities?.())?.torch);
  }

  /** @param {boolean} on */
  light(on) {
    return this.#track?.applyConstraints({ advanced: [/** @type {any} */ ({ torch: on })] });
  }

  /** @param {any} reader @param {MediaStream} stream */
  async #look(reader, stream) {
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    /** The codes that were read: when each was last in sight, and how many looks have missed it since. @type {Map<string, { last: number, missed: number }>} */
    const seen = new Map();
    while (this.#stream === stream) {
      const begin = performance.now();
      const { videoWidth, videoHeight } = this.video;
      if (pen && videoWidth && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
        const scale = Math.min(1, WIDTH / Math.max(videoWidth, videoHeight));
        canvas.width = Math.round(videoWidth * scale);
        canvas.height = Math.round(videoHeight * scale);
        pen.drawImage(this.video, 0, 0, canvas.width, canvas.height);
        /** @type {Set<string>} */
        const inSight = new Set((await reader.detect(canvas)).map((/** @type {any} */ each) => each.rawValue));
        for (const [text, { last, missed }] of seen) {
          if (inSight.has(text)) seen.set(text, { last: begin, missed: 0 });
          else if (missed >= GONE_LOOKS && begin - last > GONE_MS) seen.delete(text);
          else seen.set(text, { last, missed: missed + 1 });
        }
        for (const text of inSight) {
          if (seen.has(text) || this.paused || this.#stream !== stream) continue;
          seen.set(text, { last: begin, missed: 0 });
          this.#onCode(text);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(PAUSE_MS, performance.now() - begin)));
    }
  }
}
