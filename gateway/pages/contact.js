// The fields that ask whom a booking is for.

import { field, h } from "./dom.js";
import { locale, t } from "./words.js";

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
