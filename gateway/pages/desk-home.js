// `/desk`: what needs a person, and how the events sell.

import { admin, can, counted, failed, holdfast, openDesk, saleTag } from "./desk.js";
import { legend, namedBar, seatsOf } from "./desk-chart.js";
import { h, notice } from "./dom.js";
import { titled } from "./page.js";
import { money, number, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** How many events are shown with their sales, and how many bookings that need a person. */
const EVENTS = 12;
const BOOKINGS = 5;

openDesk(async () => {
  const [events, ...needy] = await Promise.all([
    admin.events({ status: "published", limit: EVENTS }),
    ...["refund_failed", "disputed"].map((payment) => needing(/** @type {Types.PaymentStatus} */ (payment))),
    can("admin") ? failingWebhooks() : null,
  ]);
  const found = needy.filter(Boolean);
  return h("div.stack", null,
    titled(t("desk.overview")),
    h("div.desk-columns.turned", null,
      h("section.stack", { "aria-labelledby": "needs" },
        h("h2", { id: "needs" }, t("desk.needs")),
        found.length ? found : notice("good", t("desk.needs.nothing")),
      ),
      h("section.stack", { "aria-labelledby": "sales" },
        h("div.head", null, h("h2", { id: "sales" }, t("desk.sales")), legend()),
        events.items.length ? events.items.map(sales) : h("div.card-box", null, h("p", null, t("desk.no_events")), h("a.button.primary", { href: "/desk/events/new" }, t("desk.new_event"))),
      ),
    ),
  );
});

/** Bookings whose money stands so. null: there are none. @param {Types.PaymentStatus} payment */
async function needing(payment) {
  const page = await admin.bookings({ payment, limit: BOOKINGS });
  if (!page.items.length) return null;
  return h("div.card-box", null,
    h("h3", null, t(`desk.needs.${payment}`, { count: page.items.length, number: counted(page) })),
    h("p.small", null, t(`desk.needs.${payment}.text`)),
    h("ul", null, page.items.map((each) => h("li.line", null,
      h("a", { href: `/desk/bookings/${each.id}` }, each.reference),
      h("span", null, money(each.amount, each)),
    ))),
    page.next_cursor && h("a", { href: `/desk/bookings?payment=${payment}` }, t("desk.all")),
  );
}

/** Endpoints of webhooks that get nothing, though nobody wanted that. null: there are none. */
async function failingWebhooks() {
  const { items } = await admin.webhookEndpoints();
  const failing = items.filter((each) => each.failing_since || (each.disabled_reason && each.disabled_reason !== "by_operator"));
  if (!failing.length) return null;
  return h("div.card-box", null,
    h("h3", null, t("desk.needs.webhooks", { count: failing.length, number: number(failing.length) })),
    h("ul", null, failing.map((each) => h("li.ids", null, each.url))),
    h("a", { href: "/desk/webhooks" }, t("desk.webhooks")),
  );
}

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
