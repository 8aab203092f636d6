// The field for a promo code, beside the tickets of an event.

import { busy, field, h, say } from "./dom.js";
import { HoldfastError } from "./holdfast.js";
import { explained } from "./page.js";
import { t } from "./words.js";

export class PromoCode {
  /** The code that applies, as it was entered; null: none. @type {string | null} */
  code = null;
  #field = field(t("promo.label"), { autocomplete: "off", autocapitalize: "characters", spellcheck: "false", maxlength: 100 });

  /** @param {(code: string | null) => Promise<void>} apply Rejected with the API's refusal, where the code is not good */
  constructor(apply) {
    const submit = h("button.button.secondary", { type: "submit" }, t("promo.apply"));
    const send = async () => {
      const entered = this.#field.input.value.trim() || null;
      this.#field.show();
      try {
        await apply(entered);
        say(t(entered ? "promo.applies" : "promo.none"));
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        this.refused(error);
        this.#field.input.focus();
      }
    };
    this.element = h(
      "details.promo",
      null,
      h("summary", null, t("promo.title")),
      h(
        "form",
        {
          novalidate: true,
          onsubmit: (/** @type {Event} */ event) => {
            event.preventDefault();
            busy(submit, send);
          },
        },
        this.#field.element,
        submit,
      ),
    );
  }

  /** Says why the code takes nothing off. @param {HoldfastError} error */
  refused(error) {
    const { title, advice } = explained(error);
    this.#field.show(`${title}. ${advice}`);
  }

  /** Nothing is wrong with it any more. */
  accepted() {
    this.#field.show();
  }
}
