// `/desk`: what needs a person, and how the events sell.

import { attention } from "./desk-attention.js";
import { legend, namedBar, seatsOf } from "./desk-chart.js";
import { admin, failed, holdfast, openDesk, saleTag } from "./desk.js";
import { h } from "./dom.js";
import { titled } from "./page.js";
import { t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** How many events are shown with their sales. */
const EVENTS = 12;

openDesk(async () => {
  const [needs, events] = await Promise.all([attention(), admin.events({ status: "published", limit: EVENTS })]);
  return h("div.stack", null,
    titled(t("desk.overview")),
    h("div.desk-columns.turned", null,
      needs,
      h("section.stack", { "aria-labelledby": "sales" },
        h("div.head", null, h("h2", { id: "sales" }, t("desk.sales")), legend()),
        events.items.length ? events.items.map(sales) : h("div.card-box", null, h("p", null, t("desk.no_events")), h("a.button.primary", { href: "/desk/events/new" }, t("desk.new_event"))),
      ),
    ),
  );
});

/** The sales of one event, as they change. @param {Types.OperatorsEvent} event */
function sales(event) {
  const element = h("article.card-box");
  /** @param {Types.OperatorsEvent} now */
  const show = (now) => element.replaceChildren(
    h("div.chart", null, namedBar(h("a", { href: `/desk/events/${now.id}` }, now.name), seatsOf(now.ticket_types))),
    h("p.small", null, when(now.starts_at, now.time_zone, "short"), " ", saleTag(now)),
  );
  show(event);
  follow(event, show).catch((error) => element.append(failed(error)));
  return element;
}

/** @param {Types.OperatorsEvent} event @param {(now: Types.OperatorsEvent) => void} show */
async function follow(event, show) {
  for await (const now of holdfast.watchEvent(event)) show(/** @type {Types.OperatorsEvent} */ (now));
}
