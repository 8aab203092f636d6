// `/my`: the bookings of this guest.

import { button, h } from "./dom.js";
import { HoldfastError } from "./holdfast.js";
import { holdfast, open, titled } from "./page.js";
import { comeBack, takeAlong } from "./recovery.js";
import { has, money, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

open(async () => {
  const guest = await holdfast.guest({ create: false }).catch(over);
  const page = guest === null ? { items: [], next_cursor: null } : await holdfast.bookings();
  const list = h("ul.bookings", null, await rows(page.items));
  const more = h("div.actions");
  const follow = (/** @type {string | null | undefined} */ cursor) =>
    more.replaceChildren(...(cursor ? [button(t("my.more"), () => next(cursor))] : []));
  const next = async (/** @type {string} */ cursor) => {
    const following = await holdfast.bookings({ cursor });
    list.append(...(await rows(following.items)));
    follow(following.next_cursor);
  };
  follow(page.next_cursor);
  return h(
    "div",
    null,
    titled(t("my_bookings")),
    page.items.length ? list : h("p.lead", null, t("my.none"), " ", h("a", { href: "/" }, t("all_events"))),
    more,
    h("div.pair", null, page.items.length > 0 && takeAlong(), comeBack()),
  );
});

/** A guest whose token is over is nobody here; the code of the other device leads back. @param {unknown} error */
function over(error) {
  if (error instanceof HoldfastError && error.status === 401) return holdfast.forgetGuest().then(() => null);
  throw error;
}

/** @type {Map<string, Promise<Types.EventDetails | null>>} */
const events = new Map();

/** @param {string} id */
function eventOf(id) {
  const known = events.get(id) ?? holdfast.event(id).catch(() => null);
  events.set(id, known);
  return known;
}

/** @param {readonly Types.Booking[]} bookings */
const rows = (bookings) => Promise.all(bookings.map(row));

/** @param {Types.Booking} booking */
async function row(booking) {
  const event = await eventOf(booking.event_id);
  const seats = booking.items.reduce((sum, each) => sum + each.quantity, 0);
  const state = stateOf(booking);
  return h(
    "li",
    null,
    h(
      "a.booking-row",
      { href: `/b/${booking.reference}` },
      h("span.booking-name", null, event?.name ?? t("booking.event")),
      h("span.small", null, event ? when(event.starts_at, event.time_zone, "short") : ""),
      h(
        "span.small",
        null,
        `${booking.reference} · ${t("my.seats", { count: seats })} · ${booking.amount ? money(booking.amount, booking) : t("price.free")}`,
      ),
      h(`span.tag.${state}`, null, t(`my.state.${state}`)),
    ),
  );
}

/** @param {Types.Booking} booking */
function stateOf({ status, payment }) {
  if (has(`my.state.${payment.status}`) && status !== "pending") return payment.status;
  return status;
}
