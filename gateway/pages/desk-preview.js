// `/desk/events/{id}/preview`: an event as customers will see it, also while it is a draft.

import { admin, facts, inPath, openDesk } from "./desk.js";
import { h, notice } from "./dom.js";
import { addressOf, addressOfVenue, freeText, imageOf, saleText } from "./events.js";
import { titled } from "./page.js";
import { money, t, when } from "./words.js";

openDesk(async () => {
  const event = await admin.event(inPath(3));
  const { venue } = event;
  const where = venue ? [venue.name, addressOfVenue(venue)] : [];
  const description = h("div.prose");
  description.innerHTML = event.description_html ?? ""; // the gateway has made it safe
  // An <img> sends no token, without which nobody gets the image of a draft.
  const image = event.status === "draft" && event.image && { ...event.image, url: URL.createObjectURL(await admin.eventImage(event.id)) };
  const shown = image ? { ...event, image } : event;
  return h("div.stack", null,
    notice("info", t("desk.preview.text"), h("div.actions", null,
      h("a.button.secondary.small", { href: `/desk/events/${event.id}` }, t("desk.back")),
      event.status !== "draft" && h("a.button.secondary.small", { href: addressOf(event) }, t("desk.page_of_event")),
    )),
    h("article.event", null,
      h("div.about-event", null, imageOf(shown), titled(event.name),
        facts([
          [t("event.when"), when(event.starts_at, event.time_zone)],
          [t("event.where"), where.filter(Boolean).map((each) => h("span.line", null, each))],
          [t("event.cancel"), event.cancel_until && t("event.cancel_until", { time: when(event.cancel_until, event.time_zone) })],
        ].filter(([, value]) => value?.length)),
        description),
      h("section.sale", { "aria-labelledby": "sale" },
        h("h2", { id: "sale" }, t("event.tickets")),
        h("p.state", null, saleText({ ...event, status: "published" })),
        event.ticket_types.map((type) => h("div.type", null,
          h("div", null, h("h3", null, type.name), h("p.small", null, freeText(type))),
          h("p.price", null, type.unit_amount ? money(type.unit_amount, event) : t("price.free")),
        )),
      ),
    ),
  );
});
