// Back to one's bookings on another device, by a recovery code.

import { busy, button, field, h, notice } from "./dom.js";
import { explained, holdfast } from "./page.js";
import { t, when } from "./words.js";

/** A form for the code from the other device. */
export function comeBack() {
  const code = field(
    t("recovery.code"),
    { autocomplete: "off", autocapitalize: "characters", spellcheck: "false", maxlength: 100, required: true },
    t("recovery.code.hint"),
  );
  const send = h("button.button.primary", null, t("recovery.send"));
  const submit = async () => {
    if (!code.input.value.trim()) return (code.show(t("recovery.code.missing")), code.input.focus());
    try {
      await holdfast.recover(code.input.value.trim());
      location.reload();
    } catch (error) {
      const { title, advice } = explained(error);
      code.show(`${title} ${advice}`);
      code.input.focus();
    }
  };
  return h(
    "form.card-box",
    {
      novalidate: true,
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        busy(send, submit);
      },
    },
    h("h2", null, t("recovery.title")),
    h("p", null, t("recovery.text")),
    code.element,
    send,
  );
}

/** What gives a code for another device. */
export function takeAlong() {
  const said = h("div.said", { "aria-live": "polite" });
  const act = async () => {
    try {
      const { code, expires_at } = await holdfast.recoveryCode();
      const copy = button(t("recovery.copy"), async () => {
        await navigator.clipboard.writeText(code);
        copy.textContent = t("recovery.copied");
      });
      const end = when(expires_at, Intl.DateTimeFormat().resolvedOptions().timeZone, "day");
      said.replaceChildren(
        h("p.recovery-code", null, code),
        navigator.clipboard ? copy : "",
        h("p.small", null, t("recovery.once", { time: end })),
      );
    } catch (error) {
      const { title, advice } = explained(error);
      said.replaceChildren(notice("bad", title, advice));
    }
  };
  return h(
    "section.card-box",
    null,
    h("h2", null, t("recovery.take")),
    h("p", null, t("recovery.take.text")),
    button(t("recovery.get"), act),
    said,
  );
}
