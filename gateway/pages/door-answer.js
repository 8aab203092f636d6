// What a ticket has met, over the whole screen: a colour, a shape, a word, a sound; to be understood from a metre away.

import { busy, h, svg } from "./dom.js";
import { signal } from "./door-signal.js";
import { number, t, when } from "./words.js";

/** @import { Answer } from "./door-scanner.js" */

/** For how long the camera makes way for "in": the next ticket is often there. All else stays until somebody presses. */
const IN_MS = 2500;

/** Shapes that differ by their outline, for those who see no colours. */
const SHAPES = {
  in: () => svg("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" }, svg("circle", { cx: 50, cy: 50, r: 46 }), svg("path", { d: "M28 52l16 16 30-34" })),
  out: () => svg("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" }, svg("path", { class: "outline", d: "M31 4h38l27 27v38L69 96H31L4 69V31z" }), svg("path", { d: "M33 33l34 34M67 33L33 67" })),
  unknown: () => svg("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" }, svg("path", { class: "outline", d: "M50 6l46 86H4z" }), svg("path", { d: "M50 38v26M50 77v3" })),
};

/** @param {Answer} answer @returns {"in" | "out" | "unknown"} */
export const kindOf = ({ outcome }) => (outcome === "in" || outcome === "unknown" ? outcome : "out");

/**
 * The time of day by the venue's clock.
 * @param {string | number} time
 * @param {string} timeZone
 */
export const clock = (time, timeZone) => when(new Date(time).toISOString(), timeZone, "time");

/**
 * When and where somebody was let in before.
 * @param {{ usedAt?: string | null, gate?: string | null }} of
 * @param {string} timeZone
 * @param {string} message
 */
export function before({ usedAt, gate }, timeZone, message = "door.before") {
  if (!usedAt) return null;
  const time = clock(usedAt, timeZone);
  return gate ? t(`${message}.at`, { time, gate }) : t(message, { time });
}

/** The ticket, in words. @param {Answer} answer */
export const ticketText = ({ ticketType, shown }) =>
  [ticketType, shown?.code && t("door.number", { number: number(shown.code.number) })].filter(Boolean).join(" · ");

/**
 * Shows an answer; resolves once it is gone.
 * @param {Answer} answer
 * @param {object} more
 * @param {string} more.timeZone
 * @param {number | null} more.listAt When the list came, in milliseconds
 * @param {boolean} more.sound
 * @param {boolean} more.passes Whether "in" goes by itself
 * @param {AbortSignal} more.signal Aborted: it goes at once, as another ticket is shown
 * @param {(answer: Answer) => Promise<void>} more.undo
 * @param {Promise<string | null>} more.holder The customer's name
 * @param {any} more.typing The field for codes: a hand scanner types the next one into it
 * @returns {Promise<void>}
 */
export function shown(answer, { timeZone, listAt, sound, passes, signal: gone, undo, holder, typing }) {
  const kind = kindOf(answer);
  const name = h("p.answer-holder");
  holder.then((found) => name.append(found ?? ""));
  const next = h("button.button.wide.answer-next", { value: "", autofocus: true }, t("door.next"));
  const mistake = answer.outcome === "in" && h("button.button.wide.answer-undo", { type: "button" }, t("door.undo"));
  const dialog = h(`dialog.answer.${kind}`, { "aria-labelledby": "answer-word", "aria-describedby": "answer-text" },
    h("form", { method: "dialog" },
      answer.offline && h("p.answer-offline", null, listAt === null ? t("door.offline.no_list") : t("door.offline.checked", { time: clock(listAt, timeZone) })),
      h("div.answer-middle", null,
        SHAPES[kind](),
        h("h2.answer-word", { id: "answer-word" }, t(`door.${answer.outcome}`)),
        h("div.answer-text", { id: "answer-text" },
          h("p.answer-ticket", null, ticketText(answer)),
          name,
          h("p", null, before(answer, timeZone) ?? t(`door.${answer.outcome}.text`)),
        ),
      ),
      h("div.answer-buttons", null, mistake, next),
    ),
  );
  if (mistake) mistake.addEventListener("click", () => busy(mistake, async () => {
    await undo(answer);
    dialog.close();
  }));
  dialog.addEventListener("keydown", (/** @type {KeyboardEvent} */ { key, ctrlKey, altKey, metaKey }) => {
    if (key.length !== 1 || key === " " || ctrlKey || altKey || metaKey) return;
    dialog.close();
    typing.focus(); // where this very key goes, too
  });
  return new Promise((resolve) => {
    const close = () => dialog.close();
    const timer = kind === "in" && passes ? setTimeout(close, IN_MS) : undefined;
    gone.addEventListener("abort", close);
    dialog.addEventListener("close", () => {
      clearTimeout(timer);
      gone.removeEventListener("abort", close);
      dialog.remove();
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
    signal(kind === "in", { sound });
  });
}
