// The waiting list of an event that is sold out: how to join it, and how it stands.

import { busy, button, field, h, notice, say } from "./dom.js";
import { HoldfastError } from "./holdfast.js";
import { attend, explained, failure, holdfast } from "./page.js";
import { recall, remember } from "./shop.js";
import { t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */
/** @import { Contact } from "./contact.js" */

/** The entries that still count, of this visitor in the line of an event. @param {string} eventId */
export async function entriesOf(eventId) {
  if ((await holdfast.guest({ create: false })) === null) return [];
  const { items } = await holdfast.waitingEntries();
  return items.filter((each) => each.event_id === eventId && (each.status === "waiting" || each.status === "offered"));
}

/** Whether somebody has joined the line of an event on this device. @param {string} eventId */
export const hasWaited = (eventId) => recall(`waits ${eventId}`) !== null;

export class WaitingList {
  #contact;
  #quantity = field(t("waiting.quantity"), { type: "number", inputmode: "numeric", min: 1, step: 1, value: 1, required: true });
  #type = field(t("waiting.type"), {}, undefined, "select");
  #said = h("div.said");
  #entries = h("div.entries");
  #soldOut = true;
  #submit = h("button.button.primary.wide", { type: "submit" }, t("waiting.join"));
  /** Where the fields of the contact are while this is shown. */
  contactPlace = h("div");
  #form = h(
    "form",
    {
      novalidate: true,
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        busy(this.#submit, () => this.#join());
      },
    },
    h("p", null, t("waiting.text")),
    this.#type.element,
    this.#quantity.element,
    this.contactPlace,
    this.#submit,
  );
  element = h("section.waiting-list", { "aria-label": t("waiting.title") }, this.#entries, this.#form, this.#said);

  /** @param {Types.Event} event @param {readonly Types.WaitingEntry[]} entries @param {Contact} contact */
  constructor(event, entries, contact) {
    this.event = event;
    this.#contact = contact;
    this.#quantity.input.max = String(event.max_per_booking);
    this.#type.element.hidden = event.ticket_types.length === 1;
    this.#type.input.append(...event.ticket_types.map((each) => h("option", { value: each.id }, each.name)));
    this.#show(entries);
  }

  /** Seats are held for who has an offer also while others can buy. @param {boolean} soldOut */
  show(soldOut) {
    this.#soldOut = soldOut;
    this.#form.hidden = !soldOut || !this.#free;
    this.element.hidden = !soldOut && !this.#entries.hasChildNodes();
  }

  /** The first ticket type for which this visitor does not wait yet. */
  get #free() {
    return [...this.#type.input.options].find((each) => !each.disabled);
  }

  async #read() {
    this.#show(await entriesOf(this.event.id));
  }

  /** @param {readonly Types.WaitingEntry[]} entries */
  #show(entries) {
    this.#entries.replaceChildren(...entries.map((each) => this.#entry(each)));
    for (const option of this.#type.input.options) {
      option.disabled = entries.some((each) => each.ticket_type_id === option.value);
    }
    const free = this.#free;
    if (this.#type.input.selectedOptions[0]?.disabled && free) free.selected = true;
    this.show(this.#soldOut);
  }

  /** @param {Types.WaitingEntry} entry */
  #entry(entry) {
    const name = this.event.ticket_types.find((each) => each.id === entry.ticket_type_id)?.name ?? t("ticket");
    const seats = t("waiting.seats", { count: entry.quantity, name });
    if (entry.status === "offered" && entry.booking_id) {
      const { booking_id } = entry;
      const until = entry.offered_until ? t("waiting.until", { time: when(entry.offered_until, this.event.time_zone, "short") }) : "";
      return notice("good", t("waiting.offered"), `${seats} ${until}`, button(t("waiting.take"), () => this.#take(booking_id), "primary"));
    }
    const place = entry.position ? t("waiting.position", { count: entry.position }) : "";
    return notice("info", t("waiting.waits"), `${seats} ${place}`, button(t("waiting.leave"), () => this.#leave(entry), "secondary"));
  }

  async #join() {
    this.#said.replaceChildren();
    const wrong = this.#contact.wrong();
    const { input } = this.#quantity;
    if (!input.validity.valid) {
      this.#quantity.show(t("event.most", { count: this.event.max_per_booking }));
      wrong.unshift(input);
    }
    wrong[0]?.focus();
    if (wrong.length) return;
    await this.#tried(async () => {
      await holdfast.guest();
      await holdfast.joinWaitingList({
        event_id: this.event.id,
        ticket_type_id: this.#type.input.value,
        quantity: Number(input.value),
        customer: this.#contact.customer,
      });
      remember(`waits ${this.event.id}`, "1");
      await this.#read();
      say(t("waiting.waits"));
      attend(this.#entries);
    });
  }

  /** @param {Types.WaitingEntry} entry */
  #leave({ id }) {
    return this.#tried(async () => {
      await holdfast.leaveWaitingList(id);
      await this.#read();
      say(t("waiting.left"));
      attend(this.element);
    });
  }

  /** @param {string} bookingId */
  #take(bookingId) {
    return this.#tried(async () => {
      location.assign(`/b/${(await holdfast.booking(bookingId)).reference}`);
    });
  }

  /** @param {() => Promise<void>} act */
  async #tried(act) {
    this.#said.replaceChildren();
    try {
      await act();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (this.#contact.refused(error.problem?.errors ?? [])) return;
      // An offer that has come meanwhile, or an entry made in another tab.
      if (error.status === 409) await this.#read().catch(() => {});
      this.#said.replaceChildren(failure(error));
      say(explained(error).title);
    }
  }
}
