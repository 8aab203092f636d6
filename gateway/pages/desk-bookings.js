// `/desk/bookings`: bookings found by reference, name, email address or intent, and how they stand.

import { admin, exports, openDesk, paged, table } from "./desk.js";
import { select, text } from "./desk-fields.js";
import { bookingRow, BOOKING_COLUMNS } from "./desk-rows.js";
import { h } from "./dom.js";
import { titled } from "./page.js";
import { t } from "./words.js";

const STATUSES = ["pending", "confirmed", "cancelled", "failed"];
const PAYMENTS = ["none", "creating", "awaiting", "action_required", "processing", "paid", "refund_pending", "partially_refunded", "refunded", "refund_failed", "disputed"];
const REFERENCE = /^(HF-?)?[0-9A-Z]{4}-?[0-9A-Z]{4}$/i;

openDesk(async () => {
  const asked = Object.fromEntries(new URLSearchParams(location.search));
  const { q = "", event_id, status, payment } = asked;
  const query = /** @type {any} */ ({ ...(event_id && { event_id }), ...(status && { status }), ...(payment && { payment }), ...meant(q.trim()) });
  const [first, event] = await Promise.all([admin.bookings(query), event_id ? admin.event(event_id) : null]);
  if (q && first.items.length === 1 && !first.next_cursor) location.replace(`/desk/bookings/${first.items[0].id}`);
  const { status: _, payment: __, ...searched } = query;
  const exported = /** @type {any} */ ({ ...(event_id && { event_id }), ...(status && { status }), ...(payment && { payment }) });
  return h("div", null,
    h("div.head", null, h("div.titles", null, titled(t("desk.bookings")), event && h("p", null, h("a", { href: `/desk/events/${event.id}` }, event.name))),
      Object.keys(searched).length === (event_id ? 1 : 0) && exports(exported, event?.name)),
    search({ q, event_id, status, payment }),
    h("div.card-box", null, first.items.length
      ? paged(first, (cursor) => admin.bookings({ ...query, cursor }), table(t("desk.bookings"), BOOKING_COLUMNS, []), bookingRow)
      : h("p.nothing", { role: "status" }, t("desk.none_found"))),
  );
});

/** What somebody looks for, by what the words look like. @param {string} words */
function meant(words) {
  if (!words) return {};
  if (words.startsWith("pi_")) return { intent: words };
  if (words.includes("@")) return { email: words };
  return REFERENCE.test(words) && /\d|-/.test(words) ? { reference: words } : { name: words };
}

/** @param {Record<string, string | undefined>} asked */
function search({ q, event_id, status, payment }) {
  const words = text(t("desk.search"), { type: "search", name: "q", maxlength: 255 }, t("desk.search.hint"));
  const states = select(t("desk.booking.status"), [["", t("desk.any")], ...STATUSES.map((each) => /** @type {[string, string]} */ ([each, t(`desk.booking.${each}`)]))]);
  const money = select(t("desk.payment"), [["", t("desk.any")], ...PAYMENTS.map((each) => /** @type {[string, string]} */ ([each, t(`desk.payment.${each}`)]))]);
  words.fill(q);
  states.fill(status);
  money.fill(payment);
  states.input.name = "status";
  money.input.name = "payment";
  return h("form.filters", { role: "search", action: "/desk/bookings" },
    words.element, states.element, money.element,
    event_id && h("input", { type: "hidden", name: "event_id", value: event_id }),
    h("button.button.primary", { type: "submit" }, t("home.find")),
  );
}
