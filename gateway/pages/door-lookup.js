// The tickets of a booking whose customer has no code at hand, found by its reference: for tokens that may read.

import { button, h } from "./dom.js";
import { t } from "./words.js";

/** @import { Holdfast } from "./holdfast.js" */
/** @import { Shown } from "./door-scanner.js" */

/** Whether a token allows to read bookings: it is looked into, and the server decides. @param {string} token */
export function mayRead(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return `${claims.scope ?? ""}`.split(" ").some((name) => name.startsWith("holdfast:") && name !== "holdfast:door");
  } catch {
    return false;
  }
}

/** Who booked; null where that is not known. @param {Holdfast} client @param {string} bookingId */
export async function holderOf(client, bookingId) {
  try {
    return (await client.booking(bookingId, { signal: AbortSignal.timeout(5000) })).customer?.name ?? null;
  } catch {
    return null; // a name is a help, and no more
  }
}

/**
 * The tickets of a booking, each with a button; null: there is no such booking.
 * @param {Holdfast} client
 * @param {string} reference
 * @param {(shown: Shown) => unknown} show
 */
export async function found(client, reference, show) {
  const { items: [booking] } = await client.admin.bookings({ reference });
  if (!booking) return null;
  const tickets = [];
  let event;
  for (let cursor; ; ) {
    const page = await client.tickets(booking.id, cursor ? { cursor } : {});
    tickets.push(...page.items);
    event = page.event;
    cursor = page.next_cursor;
    if (!cursor) break;
  }
  return h("section.lookup", null,
    h("h2", null, booking.customer?.name ?? booking.reference),
    h("p.small", null, `${booking.reference} · ${event.name}`),
    !tickets.length && h("p", null, t("door.lookup.none")),
    h("ul.lookup-tickets", null, tickets.map((each) => h("li.line", null,
      h("span", null, `${each.ticket_type} · ${t("door.number", { number: each.number })}`),
      each.state === "valid"
        ? button(t("door.let_in"), () => show({ bookingId: booking.id, ticketId: each.id, ticketTypeId: each.ticket_type_id, eventId: booking.event_id }))
        : h(`span.tag.${each.state}`, null, t(`door.state.${each.state}`)),
    ))),
  );
}
