// How a booking is paid: the time that is left, the form with the Payment Element, and what a decline means.

import { busy, button, h, notice, say } from "./dom.js";
import { holdfast } from "./page.js";
import { paymentElement } from "./payment.js";
import { shop } from "./shop.js";
import { duration, has, money, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** The form in which a booking is paid, under the time that is left for it. */
export class PayForm {
  #booking;
  #signal;
  #onPaid;
  #left;
  #place = h("div.payment-element");
  #said = h("div.said");
  #loading = h("div.waiting", { role: "status" }, h("span.spinner"), t("pay.loading"));
  #pay = h("button.button.primary.wide", { type: "submit", disabled: true }, t("pay.order"));
  /** Pays; resolves with Stripe's error, if there is one. @type {((returnUrl: string) => Promise<any>) | null} */
  #confirm = null;
  /** How many failed attempts have been shown. */
  #attempts;

  /**
   * @param {Types.Booking} booking
   * @param {AbortSignal} signal Aborted when the form is not shown any more
   * @param {() => void} onPaid Called when Stripe has the money, before the booking says so
   */
  constructor(booking, signal, onPaid) {
    this.#booking = booking;
    this.#signal = signal;
    this.#onPaid = onPaid;
    this.#left = new TimeLeft(booking.expires_at, signal);
    this.#attempts = booking.payment.attempts ?? 0;
    this.element = h("div.body", null, this.#left.element, this.#form());
    this.#load().then(() => this.#declined(booking.payment.last_error));
  }

  #form() {
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      busy(this.#pay, () => this.#submit());
    };
    const total = h("strong", null, money(this.#booking.amount, this.#booking));
    const tax = shop.tax_line && h("span.small.line", null, shop.tax_line);
    return h(
      "form.card-box.pay",
      { onsubmit: submit },
      h("h2", null, t("pay.title")),
      this.#loading,
      this.#place,
      this.#said,
      terms(),
      h("p.line.sum", null, h("span", null, t("total"), tax), total),
      this.#pay,
      h("p.small", null, t("pay.safe")),
    );
  }

  async #load() {
    this.#said.replaceChildren();
    try {
      const intent = await holdfast.paymentIntent(this.#booking.id, { signal: this.#signal });
      this.#confirm = await paymentElement(this.#place, intent);
      this.#pay.disabled = false;
    } catch {
      if (this.#signal.aborted) return;
      const again = button(t("try_again"), () => this.#load());
      this.#said.replaceChildren(notice("bad", t("pay.not_loaded"), t("pay.not_loaded.text"), again));
    } finally {
      this.#loading.remove();
    }
  }

  async #submit() {
    this.#said.replaceChildren();
    const error = await this.#confirm?.(location.origin + location.pathname);
    if (!error) this.#onPaid();
    else if (error.type !== "validation_error") this.#declined(error); // the element shows what is not filled in
  }

  /** The booking has changed: another tab has tried to pay, or there is more time. @param {Types.Booking} booking */
  update(booking) {
    this.#left.until(booking.expires_at);
    const { attempts = 0, last_error } = booking.payment;
    const own = this.#pay.getAttribute("aria-disabled") === "true";
    if (attempts > this.#attempts && !own) this.#declined(last_error);
    this.#attempts = attempts;
  }

  /** @param {{ code?: string | null, decline_code?: string | null, message?: string | null } | null | undefined} error */
  #declined(error) {
    if (!error || this.#signal.aborted) return;
    const known = [error.decline_code, error.code].find((each) => each && has(`decline.${each}`));
    const advice = t(known ? `decline.${known}` : "decline.other");
    // Stripe's own words are in the language of the attempt, and are needed where we have none.
    const title = known ? t("pay.declined") : (error.message ?? t("pay.declined"));
    this.#said.replaceChildren(notice("bad", title, advice, t("pay.nothing_taken")));
  }
}

/** Links to what one agrees to by ordering. */
function terms() {
  const links = ["terms", "privacy"].filter((each) => shop.links[each]);
  if (!links.length) return null;
  const link = (/** @type {string} */ name) =>
    h("a", { href: shop.links[name], target: "_blank", rel: "noopener" }, t(`link.${name}`));
  return h(
    "p.small",
    null,
    t("pay.terms"),
    " ",
    links.flatMap((each, place) => [place ? ", " : "", link(each)]),
  );
}

/** From how many seconds on the time that is left is shown as short. */
const SOON = 120;
/** At how many minutes it is said aloud. */
const SAID_AT = [5, 1];

/** How long the seats are held. */
class TimeLeft {
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
