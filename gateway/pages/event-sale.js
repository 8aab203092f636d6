// What is chosen of an event, what it costs, and who buys it.

import { busy, h, notice, say } from "./dom.js";
import { Contact, PromoCode, Row } from "./event-fields.js";
import { hasWaited, isOpen, saleOf, saleText } from "./events.js";
import { HoldfastError } from "./holdfast.js";
import { attend, explained, holdfast } from "./page.js";
import { shop } from "./shop.js";
import { money, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** With what a promo code unlocks; null: there is none. @param {string} id @param {string | null} [code] */
export async function read(id, code) {
  try {
    return await holdfast.event(id, code ? { code } : {});
  } catch (error) {
    if (error instanceof HoldfastError && error.status === 404) return null;
    throw error;
  }
}

/** How often, and with which pauses, an event is read until it has the price that a refusal has named. */
const REFRESHES = 8;
const REFRESH_MS = 500;

export class Sale {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #said = h("div.said");
  #total = h("strong.total");
  #tax = shop.tax_line && h("p.small", null, shop.tax_line);
  #held = h("p.small", null, t("event.held"));
  #discount = h("strong");
  #discountLine = h("p.line", { hidden: true }, h("span", null, t("promo.discount")), this.#discount);
  #promo = new PromoCode((code) => this.#apply(code));
  /** The ticket types that the promo code unlocks: nobody else hears of them. @type {readonly Types.TicketType[]} */
  #unlocked = [];
  /** What is chosen costs this with the promo code; null: without one, or not known yet. @type {Types.Quote | null} */
  #quote = null;
  /** The question for it that is under way. */
  #asked = Promise.resolve();
  #questions = 0;
  #contact = new Contact();
  #submit = h("button.button.primary.wide", { type: "submit" });
  #list = h("div.types");
  /** What a booking needs beside the seats; not shown while there are none. */
  #order = h("div.order");
  #state = h("p.state");
  #form = h("form", { novalidate: true, onsubmit: (/** @type {Event} */ event) => this.#submitted(event) });

  /** @param {Types.Event} event */
  constructor(event) {
    this.event = event;
    const heading = h("h2", { id: "sale" }, t("event.tickets"));
    this.#form.append(this.#list, this.#order);
    this.#order.append(
      this.#contact.element,
      h(
        "div.summary",
        null,
        this.#discountLine,
        h("p.line", { "aria-live": "polite" }, h("span", null, t("total")), this.#total),
        this.#tax,
        this.#said,
        this.#submit,
        this.#held,
      ),
    );
    this.element = h(
      "section.sale",
      { "aria-labelledby": "sale" },
      heading,
      this.#state,
      this.#promo.element,
      this.#form,
    );
    this.show(event);
  }

  /** Shows the event as it is now. @param {Types.Event} event */
  show(event) {
    const known = new Set(event.ticket_types.map((each) => each.id));
    const unlocked = this.#unlocked.filter((each) => !known.has(each.id));
    event = { ...event, ticket_types: [...event.ticket_types, ...unlocked] };
    this.event = event;
    const sale = saleOf(event);
    const open = isOpen(event);
    this.#state.textContent = open ? "" : saleText(event);
    this.#state.hidden = open;
    this.#promo.element.hidden = !open && sale !== "sold_out";
    this.#list.hidden = sale === "cancelled";
    this.#order.hidden = !open;
    const before = this.#amount();
    for (const type of event.ticket_types) {
      const row = this.#rows.get(type.id);
      if (row) row.show(event, type);
      else this.#add(event, type);
    }
    for (const [id, row] of this.#rows) {
      if (event.ticket_types.every((each) => each.id !== id)) (row.element.remove(), this.#rows.delete(id));
    }
    const now = this.#amount();
    if (before && before !== now)
      this.#tell("warning", t("event.changed"), t("event.changed.text", { price: money(now, event) }));
    if (before === now) this.#sum();
    else this.#ask();
  }

  /** @param {Types.Event} event @param {Types.TicketType} type */
  #add(event, type) {
    const row = new Row(event, type, this.#contact, () => this.#changed(row));
    this.#rows.set(type.id, row);
    this.#list.append(row.element);
  }

  /** Keeps the sum within what one booking may have. @param {Row} changed */
  #changed(changed) {
    const { max_per_booking } = this.event;
    const over = this.#seats() - max_per_booking;
    if (over > 0) {
      changed.set(changed.quantity - over);
      this.#tell("info", t("event.most", { count: max_per_booking }));
    } else this.#said.replaceChildren();
    this.#ask();
  }

  #seats() {
    return [...this.#rows.values()].reduce((sum, row) => sum + row.quantity, 0);
  }

  #amount() {
    return [...this.#rows.values()].reduce((sum, row) => sum + row.quantity * row.type.unit_amount, 0);
  }

  /** What is to be paid, as far as it is known: a promo code only takes off. */
  #cost() {
    return this.#quote ? this.#quote.amount : this.#amount();
  }

  #items() {
    return [...this.#rows.values()]
      .filter((row) => row.quantity)
      .map((row) => ({ ticket_type_id: row.type.id, quantity: row.quantity }));
  }

  /** Shows what a promo code unlocks and takes off. @param {string | null} code */
  async #apply(code) {
    const event = await holdfast.event(this.event.id, code ? { code } : {});
    this.#promo.code = code;
    const before = new Set(this.#unlocked.map((each) => each.id));
    const known = new Set(this.event.ticket_types.map((each) => each.id).filter((id) => !before.has(id)));
    this.#unlocked = code ? event.ticket_types.filter((each) => !known.has(each.id)) : [];
    this.show(event);
    this.#promo.show();
    await this.#ask();
  }

  /** Asks what the chosen seats cost with the promo code. */
  #ask() {
    this.#quote = null;
    this.#sum();
    this.#asked = this.#answer(++this.#questions);
    return this.#asked;
  }

  /** @param {number} question The last one alone counts */
  async #answer(question) {
    const { code } = this.#promo;
    if (!code || !this.#seats()) return;
    try {
      await holdfast.guest();
      const quote = await holdfast.quote({ event_id: this.event.id, items: this.#items(), code });
      if (question !== this.#questions) return;
      this.#quote = quote;
      this.#promo.show();
      this.#sum();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (question === this.#questions) this.#promo.show(error);
    }
  }

  #sum() {
    const amount = this.#cost();
    const seats = this.#seats();
    const discount = this.#quote?.discount ?? 0;
    this.#discountLine.hidden = !discount;
    this.#discount.textContent = money(-discount, this.event);
    const free = seats ? !amount : this.event.ticket_types.every((each) => !each.unit_amount);
    this.#total.textContent = free ? t("price.free") : money(amount, this.event);
    this.#submit.textContent = t(free ? "event.book_free" : "event.hold");
    this.#held.hidden = free;
    if (this.#tax) this.#tax.hidden = free;
  }

  /** @param {"info" | "warning" | "bad"} kind @param {string} title @param {string} [text] */
  #tell(kind, title, text) {
    this.#said.replaceChildren(notice(kind, title, text));
    say([title, text].filter(Boolean).join(" "));
  }

  /** Shows for what this visitor waits: where nothing is left, and where seats have come back, which may be theirs. */
  async #readWaiting() {
    const isOfInterest = hasWaited(this.event.id) || this.event.ticket_types.some((each) => !each.available);
    if (document.hidden || !isOfInterest) return;
    const { entriesOf } = await import("./waiting.js");
    for (const entry of await entriesOf(this.event.id)) {
      const waiting = await this.#rows.get(entry.ticket_type_id)?.waiting();
      waiting?.follow(entry);
    }
  }

  /** Shows what is free as it changes, and the visitor's places in waiting lists. */
  async follow() {
    const readWaiting = () => this.#readWaiting().catch((error) => console.warn(`No waiting list is read: ${error.message}`));
    document.addEventListener("visibilitychange", readWaiting); // another tab may have joined
    readWaiting();
    try {
      await holdfast.guest();
      for await (const event of holdfast.watchEvent(this.event)) this.show({ ...this.event, ...event });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      console.warn(`The event is not followed: ${error.message}`);
    }
  }

  /** @param {Event} submitted */
  #submitted(submitted) {
    submitted.preventDefault();
    busy(this.#submit, () => this.#book());
  }

  /** Whether everything is filled in; what is not is said where it is missing. */
  #complete() {
    const wrong = this.#contact.wrong();
    if (!this.#seats()) {
      this.#tell("warning", t("event.nothing"));
      wrong.unshift([...this.#rows.values()].find((row) => row.type.available)?.input);
    }
    wrong[0]?.focus();
    return !wrong.length;
  }

  async #book() {
    if (!this.#complete()) return;
    this.#said.replaceChildren(notice("info", t("event.holding")));
    try {
      await this.#asked;
      await holdfast.guest();
      const seats = { event_id: this.event.id, items: this.#items(), code: this.#quote?.code ?? null };
      const booking = await holdfast.book(
        { ...seats, customer: this.#contact.customer, expected_amount: this.#cost() },
        { wait: 3 },
      );
      location.assign(`/b/${booking.reference}`);
      await new Promise(() => {}); // until the browser leaves this page
    } catch (error) {
      await this.#refused(error);
    }
  }

  /**
   * What was shown is out of date: prices, seats or times. Caches may have it for a moment longer.
   * @param {number | null} [amount] What the chosen seats cost now, where that is known
   */
  async #refresh(amount) {
    for (let tries = 0; tries < REFRESHES; tries++) {
      const event = await read(this.event.id, this.#promo.code).catch(() => null);
      if (event) this.show(event);
      await this.#ask();
      if (amount === undefined || amount === null || this.#cost() === amount) return;
      await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
    }
  }

  /** @param {unknown} error */
  async #refused(error) {
    const wrong = error instanceof HoldfastError ? (error.problem?.errors ?? []) : [];
    if (this.#contact.refused(wrong)) return this.#said.replaceChildren();
    const { title, advice } = explained(error);
    if (error instanceof HoldfastError && error.status === 409) await this.#refresh(error.problem?.amount);
    this.#tell("bad", title, advice);
    attend(this.#said);
    if (!(error instanceof HoldfastError)) throw error;
  }
}
