// A dialog that does one thing.

import { busy, h, notice } from "./dom.js";
import { HoldfastError } from "./holdfast.js";
import { attend, failure } from "./page.js";

/** What is filled in is not enough; the message, where there is one, says what to do. */
export class Incomplete extends Error {}

/**
 * It stays open while that has failed, and says why. What is risky is not what a key pressed too early does.
 * @param {object} of
 * @param {string} of.title
 * @param {any[]} of.content
 * @param {string} of.yes
 * @param {string} of.no
 * @param {boolean} [of.risky]
 * @param {() => unknown} of.act
 * @param {(error: HoldfastError) => any} [of.failed] Says why
 */
export function openDialog({ title, content, yes, no, risky = false, act, failed = failure }) {
  const said = h("div.said");
  const submit = h(`button.button.${risky ? "danger" : "primary"}`, { type: "submit" }, yes);
  const shown = h(
    "dialog.dialog",
    { "aria-labelledby": "dialog-title", onclose: () => closed() },
    h(
      "form",
      {
        novalidate: true,
        oninput: () => said.replaceChildren(),
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          busy(submit, run);
        },
      },
      h("h2", { id: "dialog-title" }, title),
      content.flat(),
      said,
      h(
        "div.actions",
        null,
        submit,
        h("button.button.secondary", { type: "button", autofocus: risky, onclick: () => shown.close() }, no),
      ),
    ),
  );
  const opener = document.activeElement;
  const closed = () => {
    shown.remove();
    const heading = !opener?.isConnected && document.querySelector("main h1");
    if (heading) attend(heading);
  };
  const run = async () => {
    said.replaceChildren();
    try {
      await act();
      shown.close();
    } catch (error) {
      if (error instanceof HoldfastError) said.replaceChildren(failed(error));
      else if (!(error instanceof Incomplete)) throw error;
      else if (error.message) said.replaceChildren(notice("bad", error.message));
    }
  };
  document.body.append(shown);
  shown.showModal();
  return { element: shown, submit };
}
