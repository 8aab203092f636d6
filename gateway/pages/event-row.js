// One ticket type on the page of an event, and how many of it are chosen.

import { h } from "./dom.js";
import { freeText, isFew, isOpen } from "./events.js";
import { money, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */
/** @import { Contact } from "./event-fields.js" */
/** @import { Waiting } from "./waiting.js" */

export class Row {
  quantity = 0;
  #price = h("p.price");
  #free = h("p.small");
  #name = h("h3");
  #changed;
  #contact;
  #stepper;
  /** @type {Promise<Waiting> | null} */
  #waiting = null;

  /**
   * @param {Types.Event} event
   * @param {Types.TicketType} type
   * @param {Contact} contact
   * @param {() => void} changed
   */
  constructor(event, type, contact, changed) {
    this.event = event;
    this.type = type;
    this.#changed = changed;
    this.#contact = contact;
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
    this.#stepper = h("div.stepper", null, this.fewer, this.input, this.more);
    this.element = h(
      "div.type",
      { role: "group", "aria-labelledby": id },
      h("div", null, this.#name, this.#price, this.#free),
      this.#stepper,
    );
    this.show(event, type);
  }

  /** @param {Types.Event} event @param {Types.TicketType} type */
  show(event, type) {
    this.event = event;
    this.type = type;
    const open = isOpen(event);
    this.most = open ? Math.min(type.available, event.max_per_booking) : 0;
    this.#name.textContent = type.name;
    this.#price.textContent = type.unit_amount ? money(type.unit_amount, event) : t("price.free");
    this.#free.textContent = open ? freeText(type) : ""; // else the whole event says why there are none
    this.#free.classList.toggle("few", isFew(type));
    this.element.classList.toggle("gone", type.available === 0);
    this.#stepper.hidden = !this.most;
    if (this.#waiting || (type.available === 0 && !type.hidden)) {
      this.waiting().then((waiting) => waiting.show(this.event, this.type), reportError);
    }
    this.set(this.quantity);
  }

  /** Its waiting list, which is loaded where nothing is left: hardly anybody needs it. */
  waiting() {
    this.#waiting ??= import("./waiting.js").then(({ Waiting }) => {
      const made = new Waiting(this.event, this.type, this.#contact);
      this.element.append(made.join, made.element);
      return made;
    });
    return this.#waiting;
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
