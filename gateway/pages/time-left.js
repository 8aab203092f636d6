// How long seats are held, counted down by the server's clock.

import { h, say } from "./dom.js";
import { duration, t } from "./words.js";

/** From how many seconds on the time that is left is shown as short. */
const SOON = 120;
/** At how many minutes it is said aloud. */
const SAID_AT = [5, 1];

export class TimeLeft {
  #end;
  #shown = h("strong", { role: "timer", "aria-live": "off" });
  #seconds = Infinity;

  /** @param {string | null | undefined} end @param {AbortSignal} signal */
  constructor(end, signal) {
    this.#end = end;
    this.element = h("p.countdown", null, h("span", null, t("pay.held")), this.#shown);
    const timer = setInterval(() => this.#tick(), 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.#tick();
  }

  /** @param {string | null | undefined} end */
  until(end) {
    this.#end = end;
    this.#tick();
  }

  async #tick() {
    const before = this.#seconds;
    const seconds = (Date.parse(this.#end ?? "") - (await serverTime())) / 1000;
    if (Number.isNaN(seconds)) return;
    this.#seconds = seconds;
    this.#shown.textContent = seconds > 0 ? duration(seconds) : t("pay.over");
    this.element.classList.toggle("soon", seconds < SOON);
    const passed = SAID_AT.find((each) => seconds <= each * 60 && before > each * 60 && before < Infinity);
    if (passed) say(t("pay.left", { count: passed }));
  }
}

/** How far the server's clock is ahead of this device's, in milliseconds. @type {Promise<number> | null} */
let ahead = null;

/** The server's time in milliseconds: a device's clock may be minutes off. */
async function serverTime() {
  ahead ??= fetch(import.meta.url, { method: "HEAD", cache: "no-store" }).then(
    // The header has whole seconds: on average it is half a second behind.
    (answer) => Date.parse(answer.headers.get("Date") ?? "") + 500 - Date.now() || 0,
    () => 0,
  );
  return Date.now() + (await ahead);
}
