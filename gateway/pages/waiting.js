// The waiting list of one ticket type: how to join it while nothing is left, and how this visitor's entry stands.

import { Incomplete, openDialog } from "./dialog.js";
import { button, field, h, notice, say } from "./dom.js";
import { Contact } from "./event-fields.js";
import { isOpen, rememberWaiting, saleOf } from "./events.js";
import { HoldfastError } from "./holdfast.js";
import { explained, failure, holdfast } from "./page.js";
import { TimeLeft } from "./time-left.js";
import { t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** How often the place in the line is read, which changes without a message. */
const PLACE_MS = 60_000;

/** The entries that still count, of this visitor in the lines of an event. @param {string} eventId */
export async function entriesOf(eventId) {
  if ((await holdfast.guest({ create: false })) === null) return [];
  const { items } = await holdfast.waitingEntries();
  return items.filter((each) => each.event_id === eventId && (each.status === "waiting" || each.status === "offered"));
}

export class Waiting {
  #event;
  #type;
  #contact;
  /** Whether an entry waits or has an offer, and so nobody has to join. */
  #isIn = false;
  /** Of the entry that is shown. */
  #version = 0;
  /** What is done for the entry ends with it. */
  #followed = new AbortController();
  join = button(t("waiting.join"), () => this.#ask());
  element = h("div.waiting-list");

  /** @param {Types.Event} event @param {Types.TicketType} type @param {Contact} contact What is filled in on the page */
  constructor(event, type, contact) {
    this.#event = event;
    this.#type = type;
    this.#contact = contact;
    this.join.setAttribute("aria-label", `${t("waiting.join")}: ${type.name}`);
  }

  /** The event has changed. @param {Types.Event} event @param {Types.TicketType} type */
  show(event, type) {
    this.#event = event;
    this.#type = type;
    const isOnSale = isOpen(event) || saleOf(event) === "sold_out";
    // Of a hidden ticket type nobody waits without its promo code, and an entry has none.
    this.join.hidden = this.#isIn || type.available > 0 || Boolean(type.hidden) || !isOnSale;
  }

  /** Shows an entry, and what becomes of it, unless one is shown already. @param {Types.WaitingEntry} entry */
  async follow(entry) {
    if (this.#isIn) return;
    this.#followed = new AbortController();
    const { signal } = this.#followed;
    this.#version = 0;
    this.#draw(entry);
    const read = async () => {
      const now = document.hidden ? null : await holdfast.waitingEntry(entry.id, { signal });
      if (now?.status === "waiting") this.#draw(now);
    };
    const timer = setInterval(() => read().catch(() => {}), PLACE_MS);
    try {
      for await (const now of holdfast.watchWaitingEntry(entry, { signal })) {
        this.#draw(now);
        if (now.status === "offered" && now.booking_id) await this.#offered(now.booking_id, signal);
        if (now.status !== "waiting") break;
      }
      // What becomes of an offer is told by its booking, and not by the entry's own messages.
      if (this.#isIn) this.#draw(await holdfast.waitingEntry(entry.id, { signal }));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof HoldfastError)) throw error;
      this.element.append(failure(error));
    } finally {
      clearInterval(timer);
    }
  }

  /** Shows the offer until it is paid, cancelled or over. @param {string} bookingId @param {AbortSignal} signal */
  async #offered(bookingId, signal) {
    /** @type {TimeLeft | null} */
    let left = null;
    for await (const booking of holdfast.watch(bookingId, { signal })) {
      if (booking.status !== "pending") return;
      if (left) left.until(booking.expires_at);
      else {
        left = new TimeLeft(booking.expires_at, signal);
        const pay = h("a.button.primary", { href: `/b/${booking.reference}` }, t("waiting.take"));
        this.#tell(notice("good", t("waiting.offered"), this.#seats(booking.items[0].quantity), left.element, pay));
      }
    }
  }

  /** @param {Types.WaitingEntry} entry */
  #draw(entry) {
    const { status, position, version } = entry;
    if (version < this.#version) return; // an answer that was on its way
    this.#version = version;
    this.#isIn = status === "waiting" || status === "offered";
    this.show(this.#event, this.#type);
    const seats = this.#seats(entry.quantity);
    if (status === "waiting") {
      const place = position ? t("waiting.position", { count: position }) : "";
      this.#tell(notice("info", t("waiting.waits"), `${seats} ${place}`, button(t("waiting.leave"), () => this.#leave(entry))));
    } else if (status === "offered") this.#tell(notice("good", t("waiting.offered"), seats));
    else if (status === "left") this.#tell();
    else {
      const name = status === "accepted" || status === "lapsed" ? status : "closed";
      this.#tell(notice(name === "accepted" ? "good" : "warning", t(`waiting.${name}`), t(`waiting.${name}.text`)));
    }
  }

  /** @param {number} count */
  #seats(count) {
    return t("waiting.seats", { count, name: this.#type.name });
  }

  /** What is shown already is left as it is, so that it is not read out again. @param {...any} shown */
  #tell(...shown) {
    const text = shown.map((each) => each.textContent).join("");
    if (text !== this.element.textContent) this.element.replaceChildren(...shown);
  }

  // --- what visitors do

  #ask() {
    const contact = new Contact(this.#contact.customer);
    const most = this.#event.max_per_booking;
    const quantity = field(t("waiting.quantity"), { type: "number", inputmode: "numeric", min: 1, max: most, step: 1, value: 1, required: true });
    openDialog({
      title: `${t("waiting.title")}: ${this.#type.name}`,
      content: [h("p", null, t("waiting.text")), quantity.element, contact.element],
      yes: t("waiting.join"),
      no: t("waiting.back"),
      act: async () => {
        const wrong = contact.wrong();
        if (!quantity.input.validity.valid) {
          quantity.show(t("event.most", { count: most }));
          wrong.unshift(quantity.input);
        }
        wrong[0]?.focus();
        if (wrong.length) throw new Incomplete();
        const entry = await this.#enter(Number(quantity.input.value), contact);
        rememberWaiting(this.#event.id);
        this.follow(entry);
        say(t("waiting.waits"));
      },
    });
  }

  /** @param {number} quantity @param {Contact} contact */
  async #enter(quantity, contact) {
    const { id } = this.#event;
    try {
      await holdfast.guest();
      const { customer } = contact;
      return await holdfast.joinWaitingList({ event_id: id, ticket_type_id: this.#type.id, quantity, customer });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (contact.refused(error.problem?.errors ?? [])) throw new Incomplete();
      // Perhaps made in another tab.
      const entries = error.code === "already_waiting" ? await entriesOf(id).catch(() => []) : [];
      const entry = entries.find((each) => each.ticket_type_id === this.#type.id);
      if (!entry) throw error;
      return entry;
    }
  }

  /** @param {Types.WaitingEntry} entry */
  async #leave(entry) {
    try {
      const left = await holdfast.leaveWaitingList(entry.id);
      this.#followed.abort();
      this.#draw(left);
      say(t("waiting.left"));
      this.join.focus();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.element.append(failure(error)); // an offer that has come meanwhile is shown by its message
      say(explained(error).title);
    }
  }
}
