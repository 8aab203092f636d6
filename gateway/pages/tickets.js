// The tickets of a booking: each with its QR code, as a file for the calendar, and on paper.

import { button, h } from "./dom.js";
import { holdfast } from "./page.js";
import { t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/**
 * @param {Types.Booking} booking
 * @param {string} place Where the event takes place
 * @param {AbortSignal} signal
 */
export async function tickets(booking, place, signal) {
  const all = [];
  let first = null;
  for (let cursor; ;) {
    const page = await holdfast.tickets(booking.id, cursor ? { cursor } : {}, { signal });
    first ??= page;
    all.push(...page.items);
    cursor = page.next_cursor;
    if (!cursor) break;
  }
  const { event } = first;
  const list = h(
    "ul.tickets",
    null,
    all.map((each, index) => ticket(booking, event, place, each, t("tickets.number", { place: index + 1, count: all.length }), signal)),
  );
  const save = async () => offer(await holdfast.calendar(booking.id), `${booking.reference}.ics`);
  return h(
    "div",
    null,
    list,
    h(
      "div.actions.no-print",
      null,
      button(t("tickets.print"), () => window.print()),
      button(t("tickets.calendar"), save),
    ),
  );
}

/** @param {Types.Booking} booking @param {any} event @param {string} place @param {Types.Ticket} each @param {string} title @param {AbortSignal} signal */
function ticket(booking, event, place, each, title, signal) {
  const valid = each.state === "valid" || each.state === "used";
  const code = h("div.code");
  if (valid && each.code) drawCode(code, booking.id, each, signal);
  return h(
    `li.ticket.${each.state}`,
    null,
    h(
      "div.ticket-text",
      null,
      h("p.small", null, title),
      h("h2", null, event.name),
      h("p", null, when(event.starts_at, event.time_zone)),
      place && h("p", null, place),
      h("p", null, h("strong", null, each.ticket_type)),
      h("p.small", null, `${booking.reference}${booking.customer ? ` · ${booking.customer.name}` : ""}`),
      each.state !== "valid" && h(`p.tag.${each.state}`, null, t(`tickets.${each.state}`)),
    ),
    code,
  );
}

/** An image needs the token, which no `<img>` sends. @param {any} place @param {string} id @param {Types.Ticket} of @param {AbortSignal} signal */
async function drawCode(place, id, of, signal) {
  try {
    const url = URL.createObjectURL(await holdfast.ticketSvg(id, of.id, { signal }));
    place.append(h("img", { src: url, alt: t("tickets.code"), width: 228, height: 228 }));
  } catch (error) {
    if (!signal.aborted) place.append(h("p.small", null, t("tickets.no_code")));
  }
}

/** Lets the browser save a file. @param {Blob} file @param {string} name */
function offer(file, name) {
  const url = URL.createObjectURL(file);
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
