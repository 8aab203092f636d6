// `/b/{reference}`: one booking, from the queue to the tickets, as it changes.

import { addressOf, placeOf } from "./events.js";
import { button, confirmed, h, notice, say } from "./dom.js";
import { HoldfastError, isPayable, isWaiting } from "./holdfast.js";
import { apart, attend, empty, explained, failure, goOnWith, holdfast, open, titled } from "./page.js";
import { PayForm } from "./pay.js";
import { comeBack } from "./recovery.js";
import { shop } from "./shop.js";
import { tickets } from "./tickets.js";
import { has, money, number, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** What Stripe has put into the address on the way back; not for anybody's history. */
const returned = new URLSearchParams(location.search).get("redirect_status");
if (returned) history.replaceState(null, "", location.pathname);

/** What the link in a mail has brought; nor is this. */
const token = new URLSearchParams(location.hash.slice(1)).get("link");
if (token) history.replaceState(null, "", `${location.pathname}${location.search}`);
addEventListener("hashchange", () => location.reload());

open(async () => {
  const reference = decodeURIComponent(location.pathname.split("/").at(-1) ?? "").toUpperCase();
  let booking = await found(holdfast, reference);
  if (!booking) {
    // Whom the link lets in does not become this browser's guest: that one has bookings, too, and who mails somebody
    // a link of theirs would have them book as their guest.
    const guest = apart(`link ${reference}`);
    const refusal = token ? await guest.openLink({ reference, token }).then(() => null, refused) : null;
    if (refusal) return empty(refusal.title, refusal.advice, comeBack());
    booking = await found(guest, reference);
    if (!booking) return empty(t("booking.none", { reference }), t("booking.none.text"), comeBack());
    goOnWith(guest);
  }
  const event = await holdfast.event(booking.event_id).catch(() => null);
  const view = new BookingView(booking, event);
  view.follow();
  return view.element;
});

/** One of the bookings of a client's guest. @param {typeof holdfast} client @param {string} reference */
async function found(client, reference) {
  if ((await client.guest({ create: false }).catch(ended)) === null) return null;
  for await (const booking of client.bookings()) if (booking.reference === reference) return booking;
  return null;
}

/** What to say of a link that is not good, or of what can be none. @param {unknown} error */
function refused(error) {
  if (error instanceof HoldfastError && error.status < 500 && !error.retryable) return { title: t("error.link_invalid"), advice: t("error.link_invalid.advice") };
  throw error;
}

/** A guest whose token is over is nobody here. @param {unknown} error */
function ended(error) {
  if (error instanceof HoldfastError && error.status === 401) return null;
  throw error;
}

/**
 * Which of the views a booking has.
 * @param {Types.Booking} booking
 * @param {boolean} paid Whether this page has seen the payment succeed
 */
function stateOf(booking, paid) {
  if (booking.status === "confirmed") return "confirmed";
  if (booking.status !== "pending") return "ended";
  if (booking.closing) return "closing";
  if (isWaiting(booking)) return "queue";
  if (booking.payment.status === "processing") return "processing";
  if (paid) return "confirming";
  return isPayable(booking) ? "pay" : "confirming";
}

class BookingView {
  #state = "";
  #paid = returned === "succeeded";
  #head = h("div");
  #body = h("div.body");
  #aside = h("section.summary-card", { "aria-label": t("summary") });
  /** Shows what changes while the view stays. @type {(booking: Types.Booking) => void} */
  #update = () => {};
  /** @type {AbortController} */
  #shown = new AbortController();

  /** @param {Types.Booking} booking @param {Types.EventDetails | null} event */
  constructor(booking, event) {
    this.booking = booking;
    this.event = event;
    this.element = h("div.booking", null, this.#head, h("div.columns", null, this.#body, this.#aside));
    this.show(booking);
  }

  /** Shows each change; other pages of this booking, and other devices, do the same. */
  async follow() {
    try {
      for await (const booking of holdfast.watch(this.booking)) this.show(/** @type {Types.Booking} */ (booking));
    } catch (error) {
      this.#head.prepend(failure(error, () => location.reload()));
    }
  }

  /** Shows an answer, unless a message that left after it has overtaken it. @param {Types.Booking} booking */
  #answered(booking) {
    if (booking.version >= this.booking.version) this.show(booking);
  }

  /** @param {Types.Booking} booking */
  show(booking) {
    this.booking = booking;
    this.#aside.replaceChildren(...this.#summary());
    const state = stateOf(booking, this.#paid);
    if (state === this.#state) return this.#update(booking);
    const first = !this.#state;
    this.#state = state;
    this.#shown.abort();
    this.#shown = new AbortController();
    this.#update = () => {};
    this.#body.replaceChildren();
    this.element.classList.toggle("paying", state === "pay");
    const heading = titled(t(`booking.${state === "ended" ? this.#end() : state}`));
    this.#head.replaceChildren(
      h("p.reference", null, t("reference"), " ", h("strong", null, booking.reference)),
      heading,
    );
    this.#views[state]();
    if (!first) {
      attend(heading);
      say(heading.textContent ?? "");
    }
  }

  /** @type {Record<string, () => void>} */
  #views = {
    queue: () => this.#queue(),
    pay: () => this.#pay(),
    confirming: () => this.#wait(t("booking.confirming.text")),
    processing: () => this.#wait(t("booking.processing.text")),
    closing: () => this.#wait(t("booking.closing.text")),
    confirmed: () => this.#confirmed(),
    ended: () => this.#ended(),
  };

  // --- before it is paid

  #queue() {
    const place = h("p.big", { "aria-live": "polite" });
    this.#body.append(
      h("div.card-box.center", null, h("span.spinner.large"), place, h("p", null, t("booking.queue.text"))),
      this.#cancel(),
    );
    this.#update = ({ payment }) => {
      const before = payment.queue_position;
      if (before === null || before === undefined) place.textContent = t("booking.queue.unknown");
      else place.textContent = before ? t("booking.queue.place", { count: before }) : t("booking.queue.next");
    };
    this.#update(this.booking);
  }

  /** @param {string} text */
  #wait(text) {
    this.#body.append(h("div.card-box.center", { role: "status" }, h("span.spinner.large"), h("p", null, text)));
  }

  #pay() {
    const form = new PayForm(this.booking, this.#shown.signal, () => {
      this.#paid = true;
      this.show(this.booking);
    });
    this.#body.append(form.element, this.#cancel());
    this.#update = (booking) => form.update(booking);
  }

  // --- after it

  #confirmed() {
    const { booking, event } = this;
    const reader = h("div");
    this.#body.append(
      refunds(booking) ?? "",
      h(
        "p.lead",
        null,
        booking.customer ? t("booking.confirmed.to", { email: booking.customer.email }) : t("booking.confirmed.text"),
      ),
      reader,
    );
    tickets(booking, event ? placeOf(event) : "", this.#shown.signal).then(
      (shown) => reader.replaceChildren(shown),
      (error) => this.#shown.signal.aborted || reader.replaceChildren(failure(error, () => location.reload())),
    );
    const until = event?.cancel_until;
    const open = until && Date.parse(until) > Date.now();
    if (until)
      this.#body.append(
        h(
          "p.small.no-print",
          null,
          open
            ? t(`booking.cancel_until${booking.amount ? "" : ".free"}`, { time: when(until, event?.time_zone) })
            : t("booking.cancel_over"),
        ),
      );
    if (open) this.#body.append(this.#cancel());
    const { status } = booking.payment;
    this.#update = (now) => {
      if (now.payment.status === status) return;
      this.#state = "";
      this.show(now);
    };
  }

  #end() {
    const { reason } = this.booking;
    return has(`booking.${reason}`) ? `${reason}` : "ended";
  }

  #ended() {
    const { booking, event } = this;
    const again = event && !event.called_off_at && h("a.button.primary", { href: addressOf(event) }, t("booking.again"));
    const end = this.#end();
    const draw = () =>
      this.#body.replaceChildren(
        h(
          "div.card-box",
          null,
          h("p.lead", null, t(`booking.${end}.text`)),
          refunds(this.booking),
          h("div.actions", null, again, h(`a.button.${again ? "secondary" : "primary"}`, { href: "/" }, t("all_events"))),
        ),
      );
    draw();
    this.#update = draw;
  }

  #cancel() {
    const { booking } = this;
    const paid = booking.status === "confirmed" && booking.amount > 0;
    const said = h("div.said");
    const act = async () => {
      const question = paid ? t("cancel.paid", { amount: money(booking.amount, booking) }) : t("cancel.unpaid");
      if (!(await confirmed(t("cancel.title"), question, t("cancel.yes"), t("cancel.no")))) return;
      try {
        this.#answered(/** @type {Types.Booking} */ (await holdfast.cancel(booking.id)));
      } catch (error) {
        const { title, advice } = explained(error);
        said.replaceChildren(notice("bad", title, advice));
      }
    };
    return h("div.actions.no-print", null, button(t("cancel.button"), act, "quiet"), said);
  }

  // --- beside it

  #summary() {
    const { booking, event } = this;
    const names = new Map(event?.ticket_types.map((each) => [each.id, each.name]));
    return [
      h("h2", null, event ? h("a", { href: addressOf(event) }, event.name) : t("booking.event")),
      event && h("p", null, when(event.starts_at, event.time_zone)),
      event && placeOf(event) && h("p", null, placeOf(event)),
      h(
        "ul.lines",
        null,
        booking.items.map((each) =>
          h(
            "li.line",
            null,
            h("span", null, `${number(each.quantity)} × ${names.get(each.ticket_type_id) ?? t("ticket")}`),
            h("span", null, money(each.quantity * each.unit_amount, booking)),
          ),
        ),
        booking.discount
          ? h("li.line", null, h("span", null, t("promo.discount")), h("span", null, money(-booking.discount, booking)))
          : null,
      ),
      h(
        "p.line.sum",
        null,
        h("span", null, t("total")),
        h("strong", null, booking.amount ? money(booking.amount, booking) : t("price.free")),
      ),
      shop.tax_line && booking.amount > 0 && h("p.small", null, shop.tax_line),
    ].filter(Boolean);
  }
}

/** Where the money is that goes back. @param {Types.Booking} booking */
function refunds({ payment, amount, currency, currency_exponent }) {
  const of = { currency, currency_exponent };
  const back = payment.amount_refunded ?? 0;
  const sum = money(back || amount, of);
  const kinds = /** @type {const} */ ({
    refund_pending: "info",
    refunded: "good",
    partially_refunded: "good",
    refund_failed: "warning",
  });
  const kind = kinds[/** @type {keyof kinds} */ (payment.status)];
  return kind
    ? notice(
        kind,
        t(`refund.${payment.status}`, { amount: payment.status === "refund_pending" ? money(amount - back, of) : sum }),
        t(`refund.${payment.status}.text`),
      )
    : null;
}
