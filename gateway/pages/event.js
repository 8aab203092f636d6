// `/e/{slug}`: one event: what it is, what is left, and a booking of it.

import { h } from "./dom.js";
import { read, Sale } from "./event-sale.js";
import { addressOf, addressOfVenue, idIn, imageOf } from "./events.js";
import { empty, open, titled } from "./page.js";
import { t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

open(async () => {
  const id = idIn(location.pathname);
  const event = id && (await read(id));
  if (!event)
    return empty(t("event.none"), t("event.none.text"), h("a.button.primary", { href: "/" }, t("all_events")));
  const address = addressOf(event);
  document.head.append(h("link", { rel: "canonical", href: location.origin + address }));
  history.replaceState(history.state, "", address + location.search);
  const sale = new Sale(event);
  sale.follow();
  return h(
    "article.event",
    null,
    h("div.about-event", null, imageOf(event), titled(event.name), facts(event)),
    sale.element,
    description(event),
  );
});

/** @param {Types.EventDetails} event */
function facts(event) {
  const { venue } = event;
  return h(
    "dl.facts",
    null,
    h(
      "div",
      null,
      h("dt", null, t("event.when")),
      h("dd", null, h("time", { datetime: event.starts_at }, when(event.starts_at, event.time_zone))),
    ),
    venue &&
      h(
        "div",
        null,
        h("dt", null, t("event.where")),
        h(
          "dd",
          null,
          venue.name,
          h("span.line", null, addressOfVenue(venue)),
        ),
      ),
    event.cancel_until &&
      h(
        "div",
        null,
        h("dt", null, t("event.cancel")),
        h("dd", null, t("event.cancel_until", { time: when(event.cancel_until, event.time_zone) })),
      ),
  );
}

/** @param {Types.EventDetails} event */
function description(event) {
  const element = h("div.prose");
  element.innerHTML = event.description_html ?? ""; // the gateway has made it safe
  return element;
}
