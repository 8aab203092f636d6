// `/desk/events/{id}/waiting`: who waits for seats of an event, in the order of the line.

import { admin, inPath, named, numbers, openDesk, paged, table, tag } from "./desk.js";
import { moment } from "./desk-rows.js";
import { h } from "./dom.js";
import { titled } from "./page.js";
import { number, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

openDesk(async () => {
  const event = await admin.event(inPath(3));
  const names = new Map(event.ticket_types.map((each) => [each.id, each.name]));
  const first = await admin.waitingList(event.id);
  const columns = [t("desk.customer"), t("desk.type"), numbers(t("desk.seats_count")), t("desk.booking.status"), t("desk.waiting.offer"), t("desk.waiting.since")];
  /** @param {Types.OperatorsWaitingEntry} each */
  const row = (each) => [
    each.customer ? [each.customer.name, h("span.small.line", null, each.customer.email)] : "–",
    names.get(each.ticket_type_id) ?? "–",
    number(each.quantity),
    [tag(each.status, "waiting"), each.reason && h("span.small.line", null, named("reason", each.reason))],
    each.booking_id ? [h("a", { href: `/desk/bookings/${each.booking_id}` }, t("desk.booking")), each.offered_until && h("span.small.line", null, t("desk.waiting.until"), " ", moment(each.offered_until))] : "–",
    moment(each.joined_at),
  ];
  return h("div", null,
    h("div.head", null, h("div.titles", null, titled(t("desk.waiting")), h("p", null, h("a", { href: `/desk/events/${event.id}` }, event.name)))),
    h("div.card-box", null, first.items.length
      ? paged(first, (cursor) => admin.waitingList(event.id, { cursor }), table(t("desk.waiting"), columns, []), row)
      : h("p.nothing", null, t("desk.waiting.none"))),
  );
});
