// `/e/{slug}`: one event: what it is, what is left, and a booking of it.

import { Contact } from "./contact.js";
import { busy, h, notice, say } from "./dom.js";
import { addressOf, addressOfVenue, freeText, idIn, imageOf, isFew, saleOf, saleText } from "./events.js";
import { HoldfastError } from "./holdfast.js";
import { attend, empty, explained, holdfast, open, titled } from "./page.js";
import { PromoCode } from "./promo-code.js";
import { shop } from "./shop.js";
import { entriesOf, hasWaited, WaitingList } from "./waiting.js";
import { money, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

open(async () => {
  const id = idIn(location.pathname);
  const event = id && (await read(id));
  if (!event)
    return empty(t("event.none"), t("event.none.text"), h("a.button.primary", { href: "/" }, t("all_events")));
  const address = addressOf(event);
  document.head.append(h("link", { rel: "canonical", href: location.origin + address }));
  history.replaceState(history.state, "", address + location.search);
  // What a guest waits for is of interest where nothing is left, and where seats have come back, which may be theirs.
  // The event is shown also where it cannot be read.
  const asks = saleOf(event) === "sold_out" || hasWaited(event.id);
  const entries = asks ? await entriesOf(event.id).catch(() => []) : [];
  const sale = new Sale(event, entries);
  sale.follow();
  return h(
    "article.event",
    null,
    h("div.about-event", null, imageOf(event), titled(event.name), facts(event)),
    sale.element,
    description(event),
  );
});

/** With what a promo code unlocks. @param {string} id @param {string | null} [code] */
async function read(id, code) {
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

/** @param {Types.EventDetails} event */
function facts(event) {
  const { venue } = event;
  return h(
    "dl.facts",
    null,
    h(
      "div",
      null,
      h("dt", null, t("event.when")),
      h("dd", null, h("time", { datetime: event.starts_at }, when(event.starts_at, event.time_zone))),
    ),
    venue &&
      h(
        "div",
        null,
        h("dt", null, t("event.where")),
        h(
          "dd",
          null,
          venue.name,
          h("span.line", null, addressOfVenue(venue)),
        ),
      ),
    event.cancel_until &&
      h(
        "div",
        null,
        h("dt", null, t("event.cancel")),
        h("dd", null, t("event.cancel_until", { time: when(event.cancel_until, event.time_zone) })),
      ),
  );
}

/** @param {Types.EventDetails} event */
function description(event) {
  const element = h("div.prose");
  element.innerHTML = event.description_html ?? ""; // the gateway has made it safe
  return element;
}

/** What is chosen, what it costs, and who buys it. */
class Sale {
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
  /** One for both forms, so that a visitor who has filled it in when the last seat goes can wait for another. */
  #contact = new Contact();
  #contactPlace = h("div");
  #submit = h("button.button.primary.wide", { type: "submit" });
  #list = h("div.types");
  #waiting;
  #state = h("p.state");
  /** What tickets will cost, or would, while none are sold. */
  #prices = h("ul.lines");
  #form = h("form", { novalidate: true, onsubmit: (/** @type {Event} */ event) => this.#submitted(event) });

  /** @param {Types.Event} event @param {readonly Types.WaitingEntry[]} entries For what this visitor waits */
  constructor(event, entries) {
    this.event = event;
    this.#waiting = new WaitingList(event, entries, this.#contact);
    const heading = h("h2", { id: "sale" }, t("event.tickets"));
    this.#form.append(
      this.#list,
      this.#contactPlace,
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
      this.#prices,
      this.#waiting.element,
      this.#promo.element,
      this.#form,
    );
    this.show(event);
  }

  /** Shows the event as it is now. @param {Types.Event} event */
  show(event) {
    const listed = new Set(event.ticket_types.map((each) => each.id));
    const unlocked = this.#unlocked.filter((each) => !listed.has(each.id));
    event = { ...event, ticket_types: [...event.ticket_types, ...unlocked] };
    this.event = event;
    const sale = saleOf(event);
    const open = sale === "open" || sale === "few";
    this.#state.textContent = open ? "" : saleText(event);
    this.#state.hidden = open;
    this.#form.hidden = !open;
    this.#prices.hidden = sale !== "soon" && sale !== "closed";
    this.#prices.replaceChildren(
      ...event.ticket_types.map((type) =>
        h("li.line", null, h("span", null, type.name), h("span.price", null, priceText(type, event))),
      ),
    );
    this.#waiting.show(sale === "sold_out");
    this.#promo.element.hidden = !open && sale !== "sold_out";
    const place = sale === "sold_out" ? this.#waiting.contactPlace : this.#contactPlace;
    if (!place.contains(this.#contact.element)) place.append(this.#contact.element);
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
    const row = new Row(event, type, () => this.#changed(row));
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
      this.#promo.accepted();
      this.#sum();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (question === this.#questions) this.#promo.refused(error);
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

  /** Shows what is free as it changes. */
  async follow() {
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

/** @param {Types.TicketType} type @param {Types.Event} event */
const priceText = (type, event) => (type.unit_amount ? money(type.unit_amount, event) : t("price.free"));

/** One ticket type, and how many of it are chosen. */
class Row {
  quantity = 0;
  #price = h("p.price");
  #free = h("p.small");
  #name = h("h3");
  #changed;

  /** @param {Types.Event} event @param {Types.TicketType} type @param {() => void} changed */
  constructor(event, type, changed) {
    this.type = type;
    this.#changed = changed;
    const id = `type-${type.id}`;
    this.#name.id = id;
    this.input = h("input", {
      type: "number",
      inputmode: "numeric",
      min: 0,
      step: 1,
      value: 0,
      "aria-labelledby": id,
      onchange: () => this.#choose(Number(this.input.value) || 0),
    });
    this.fewer = h(
      "button",
      { type: "button", "aria-label": t("fewer", { name: type.name }), onclick: () => this.#choose(this.quantity - 1) },
      "−",
    );
    this.more = h(
      "button",
      { type: "button", "aria-label": t("more", { name: type.name }), onclick: () => this.#choose(this.quantity + 1) },
      "+",
    );
    this.element = h(
      "div.type",
      { role: "group", "aria-labelledby": id },
      h("div", null, this.#name, this.#price, this.#free),
      h("div.stepper", null, this.fewer, this.input, this.more),
    );
    this.show(event, type);
  }

  /** @param {Types.Event} event @param {Types.TicketType} type */
  show(event, type) {
    this.type = type;
    this.most = Math.min(type.available, event.max_per_booking);
    this.#name.textContent = type.name;
    this.#price.textContent = priceText(type, event);
    this.#free.textContent = freeText(type);
    this.#free.classList.toggle("few", isFew(type));
    this.element.classList.toggle("gone", type.available === 0);
    this.set(this.quantity);
  }

  /** @param {number} quantity */
  #choose(quantity) {
    this.set(quantity);
    this.#changed();
  }

  /** @param {number} quantity */
  set(quantity) {
    this.quantity = Math.max(0, Math.min(Math.floor(quantity), this.most ?? 0));
    this.input.value = String(this.quantity);
    this.input.max = String(this.most);
    this.input.disabled = this.fewer.disabled = this.more.disabled = !this.most;
    if (this.most) this.fewer.setAttribute("aria-disabled", String(this.quantity === 0));
    if (this.most) this.more.setAttribute("aria-disabled", String(this.quantity >= this.most));
  }
}
