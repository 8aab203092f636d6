// `/desk/events`: all events, by their status.

import { admin, can, numbers, openDesk, paged, saleTag, table } from "./desk.js";
import { seatsOf } from "./desk-chart.js";
import { h } from "./dom.js";
import { titled } from "./page.js";
import { number, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

const STATUSES = /** @type {const} */ (["published", "draft", "archived"]);
const EVER = "1970-01-01T00:00:00Z";

openDesk(async () => {
  const asked = new URLSearchParams(location.search);
  const status = STATUSES.find((each) => each === asked.get("status")) ?? "published";
  const past = asked.has("past") || status !== "published";
  const query = { status, ...(past && { from: EVER }) };
  const first = await admin.events(query);
  const columns = [t("desk.event"), numbers(t("desk.sold")), numbers(t("desk.held")), numbers(t("desk.free")), t("desk.sale")];
  const list = table(t("desk.events"), columns, []);
  return h("div", null,
    h("div.head", null, titled(t("desk.events")), can("admin") && h("a.button.primary", { href: "/desk/events/new" }, t("desk.new_event"))),
    h("nav.tabs", { "aria-label": t("desk.by_status") },
      STATUSES.map((each) => h("a", { href: `?status=${each}`, "aria-current": each === status && "page" }, t(`desk.status.${each}.many`))),
      status === "published" && h("a", { href: past ? "?status=published" : "?past", "aria-current": past && "page" }, t("desk.past")),
    ),
    h("div.card-box", null, first.items.length
      ? paged(first, (cursor) => admin.events({ ...query, cursor }), list, row)
      : h("p.nothing", null, t("desk.no_events"))),
  );
});

/** @param {Types.OperatorsEvent} event */
function row(event) {
  const seats = seatsOf(event.ticket_types);
  return [
    [h("a", { href: `/desk/events/${event.id}` }, event.name), h("span.small.line", null, when(event.starts_at, event.time_zone, "short"))],
    number(seats.sold), number(seats.held), number(seats.available),
    saleTag(event),
  ];
}
