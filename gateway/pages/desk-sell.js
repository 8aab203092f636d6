// `/desk/sell`: seats sold for cash or by card terminal, or given away.

import { admin, can, failed, named, openDesk } from "./desk.js";
import { read, refused, select, text } from "./desk-fields.js";
import { busy, field, h, notice, say } from "./dom.js";
import { freeText } from "./events.js";
import { titled } from "./page.js";
import { language, money, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

const METHODS = ["cash", "card_terminal", "complimentary"];
const EVENTS = 200;

openDesk(async () => {
  if (!can("box-office")) return h("div", null, titled(t("desk.box_office")), notice("warning", t("desk.no_box_office")));
  const { items } = await admin.events({ status: "published", limit: EVENTS });
  const events = items.filter((each) => each.on_sale && !each.called_off_at);
  if (!events.length) return h("div", null, titled(t("desk.box_office")), h("p.nothing", null, t("desk.no_events_on_sale")));
  const chosen = new URLSearchParams(location.search).get("event");
  return new Sale(events, events.find((each) => each.id === chosen) ?? events[0]).element;
});

class Sale {
  #events;
  #types = h("div");
  /** @type {{ type: Types.OperatorsTicketType, element: any, input: any, show: (problem?: string) => void }[]} */
  #quantities = [];
  #total = h("strong.total", { "aria-live": "polite" });
  #said = h("div.said");
  #event = select(t("desk.event"), []);
  #method = select(t("desk.method"), METHODS.map((each) => [each, named("method", each)]));
  #name = text(t("contact.name"), { maxlength: 200, autocomplete: "off" });
  #email = text(t("contact.email"), { type: "email", maxlength: 254, autocomplete: "off" }, t("desk.sell.customer.hint"));
  #note = text(t("desk.note"), { maxlength: 200 }, t("desk.note.hint"));

  /** @param {Types.OperatorsEvent[]} events @param {Types.OperatorsEvent} event */
  constructor(events, event) {
    this.#events = events;
    this.event = event;
    this.#event.input.append(...events.map((each) => h("option", { value: each.id }, `${each.name} · ${when(each.starts_at, each.time_zone, "day")}`)));
    this.#event.fill(event.id);
    this.#event.input.addEventListener("change", () => this.#choose(/** @type {any} */ (this.#events.find((each) => each.id === this.#event.raw()))));
    this.#method.input.addEventListener("change", () => this.#sum());
    const sell = h("button.button.primary", { type: "submit" }, t("desk.sell"));
    this.element = h("div", null,
      h("div.head", null, titled(t("desk.box_office"))),
      h("form.form", { novalidate: true, onsubmit: (/** @type {Event} */ each) => { each.preventDefault(); busy(sell, () => this.#sell()); } },
        h("fieldset", null, h("legend", null, t("event.tickets")), h("div.fields", null, this.#event.element), this.#types),
        h("fieldset", null, h("legend", null, t("desk.payment")), h("div.fields", null, this.#method.element, this.#note.element)),
        h("fieldset", null, h("legend", null, t("contact.title")), h("div.fields", null, this.#name.element, this.#email.element)),
        h("div.bar-below", null, this.#said, h("span", null, t("total"), " ", this.#total), sell),
      ),
    );
    this.#choose(event);
  }

  /** @param {Types.OperatorsEvent} event */
  #choose(event) {
    this.event = event;
    this.#quantities = event.ticket_types.map((type) => {
      const made = field(`${type.name} · ${type.unit_amount ? money(type.unit_amount, event) : t("price.free")}`, { type: "number", min: 0, max: type.available, value: 0, inputmode: "numeric" }, freeText(type));
      made.input.addEventListener("input", () => this.#sum());
      return { type, ...made };
    });
    this.#types.replaceChildren(h("div.fields", null, this.#quantities.map((each) => each.element)));
    this.#sum();
  }

  #wanted() {
    return this.#quantities.map(({ type, input }) => ({ type, quantity: Number(input.value) })).filter(({ quantity }) => quantity > 0);
  }

  #sum() {
    const free = this.#method.raw() === "complimentary";
    const sum = free ? 0 : this.#wanted().reduce((total, { type, quantity }) => total + quantity * type.unit_amount, 0);
    this.#total.textContent = sum ? money(sum, this.event) : t("price.free");
    return sum;
  }

  async #sell() {
    this.#said.replaceChildren();
    const fields = new Map([["method", this.#method], ["note", this.#note], ["name", this.#name], ["email", this.#email]]);
    const values = read(fields);
    if (!values) return;
    const wanted = this.#wanted();
    if (!wanted.length) {
      this.#quantities[0].show(t("event.nothing"));
      return this.#quantities[0].input.focus();
    }
    if (!values.name !== !values.email) return [this.#name, this.#email].find((each) => !each.raw())?.show(t("desk.sell.both"));
    const { method, note, name, email } = values;
    const body = {
      event_id: this.event.id,
      items: wanted.map(({ type, quantity }) => ({ ticket_type_id: type.id, quantity })),
      method,
      ...(method !== "complimentary" && { expected_amount: this.#sum() }),
      ...(note && { note }),
      ...(name && { customer: { name, email, locale: language } }),
    };
    try {
      const booking = await admin.sell(body);
      say(t("desk.saved"));
      location.assign(`/desk/bookings/${booking.id}`);
    } catch (error) {
      const shown = refused(error, ([first, second]) => {
        if (first === "items") return /** @type {any} */ (this.#quantities.find(({ type }) => type === wanted[Number(second ?? 0)]?.type));
        return fields.get(first === "customer" ? `${second}` : `${first}`);
      });
      if (!shown) this.#said.replaceChildren(failed(error));
    }
  }
}
