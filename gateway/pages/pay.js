// How a booking is paid: the time that is left, the form with the Payment Element, and what a decline means.

import { busy, button, h, notice } from "./dom.js";
import { holdfast } from "./page.js";
import { paymentElement } from "./payment.js";
import { shop } from "./shop.js";
import { TimeLeft } from "./time-left.js";
import { has, money, t } from "./words.js";

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
