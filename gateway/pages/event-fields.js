// What visitors fill in on the page of an event: how many of each ticket type, whom the tickets are for, a promo code.

import { busy, button, field, h, say } from "./dom.js";
import { freeText, isFew, isOpen } from "./events.js";
import { HoldfastError } from "./holdfast.js";
import { explained } from "./page.js";
import { locale, money, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */
/** @import { Waiting } from "./waiting.js" */

/** One ticket type, and how many of it are chosen. */
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

/** Whom a booking is for. */
export class Contact {
  #name = field(t("contact.name"), { autocomplete: "name", maxlength: 200, required: true });
  #email = field(
    t("contact.email"),
    { type: "email", autocomplete: "email", maxlength: 254, required: true },
    t("contact.email.hint"),
  );
  element = h("fieldset.contact", null, h("legend", null, t("contact.title")), this.#name.element, this.#email.element);

  /** @param {{ name: string, email: string }} [customer] What is filled in already */
  constructor({ name, email } = { name: "", email: "" }) {
    this.#name.input.value = name;
    this.#email.input.value = email;
  }

  get customer() {
    return { name: this.#name.input.value, email: this.#email.input.value, locale };
  }

  /** The inputs that are not filled in; each says what is missing. */
  wrong() {
    const wrong = [];
    for (const [of, missing] of /** @type {const} */ ([
      [this.#name, "contact.name.missing"],
      [this.#email, "contact.email.wrong"],
    ])) {
      of.input.value = of.input.value.trim();
      if (of.input.validity.valid) of.show();
      else (of.show(t(missing)), wrong.push(of.input));
    }
    return wrong;
  }

  /** Whether the API has refused the email address: then the field says so. @param {readonly { loc: readonly unknown[] }[]} errors */
  refused(errors) {
    if (!errors.some((each) => each.loc.includes("email"))) return false;
    this.#email.show(t("contact.email.wrong"));
    this.#email.input.focus();
    return true;
  }
}

/** A promo code, and which one counts now. */
export class PromoCode {
  /** What was entered last and is good; null: none. @type {string | null} */
  code = null;
  #apply;
  #field = field(t("promo.label"), { autocomplete: "off", autocapitalize: "characters", spellcheck: "false", maxlength: 100 });
  #now = h("div.line.promo-now", { hidden: true });

  /** @param {(code: string | null) => Promise<void>} apply Rejected with the API's refusal, where the code is not good */
  constructor(apply) {
    this.#apply = apply;
    const submit = h("button.button.secondary", { type: "submit" }, t("promo.apply"));
    this.element = h(
      "div.promo",
      null,
      this.#now,
      h(
        "details",
        null,
        h("summary", null, t("promo.title")),
        h(
          "form",
          {
            novalidate: true,
            onsubmit: (/** @type {Event} */ event) => {
              event.preventDefault();
              busy(submit, () => this.#enter());
            },
          },
          this.#field.element,
          submit,
        ),
      ),
    );
  }

  async #enter() {
    const { input } = this.#field;
    const entered = input.value.trim();
    if (!entered) return input.focus();
    if (await this.#change(entered)) input.value = "";
  }

  /** Whether the code counts from now on; where it does not, the one before still does. @param {string | null} code */
  async #change(code) {
    this.#field.show();
    try {
      await this.#apply(code);
      if (!code) say(t("promo.none"));
      return true;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const { title, advice } = explained(error);
      const still = this.code ? t("promo.still", { code: this.code }) : "";
      this.#field.show(`${title}. ${advice} ${still}`.trim());
      this.#field.input.focus();
      return false;
    }
  }

  /** Says which code counts, or why it takes nothing off what is chosen. @param {HoldfastError} [refusal] */
  show(refusal) {
    const { code } = this;
    this.#now.hidden = !code;
    if (!code) return this.#now.replaceChildren();
    const { title, advice } = refusal ? explained(refusal) : { title: t("promo.applies", { code }), advice: "" };
    const text = h(refusal ? "span.about.wrong" : "span", null, refusal ? `${code}: ${title}. ${advice}` : title);
    if (this.#now.firstChild?.textContent === text.textContent) return;
    const remove = button(t("promo.remove"), async () => {
      if (await this.#change(null)) this.element.querySelector("summary").focus();
    }, "quiet");
    remove.setAttribute("aria-label", `${t("promo.remove")}: ${code}`);
    this.#now.replaceChildren(text, remove);
    say(text.textContent);
  }
}
