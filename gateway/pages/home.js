// `/`: the events.

import { button, field, h } from "./dom.js";
import { addressOf, imageOf, placeOf, saleOf, saleText } from "./events.js";
import { empty, holdfast, open, titled } from "./page.js";
import { money, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** From so many events on they can be searched. */
const MANY = 6;

open(async () => {
  const found = new URLSearchParams(location.search).get("q") ?? "";
  const page = await holdfast.events(found ? { q: found } : {});
  if (!page.items.length && !found) return empty(t("home.title"), t("home.none"));
  const list = h("ul.cards", null, page.items.map(card));
  const more = h("div.actions");
  const follow = (/** @type {string | null | undefined} */ cursor) =>
    more.replaceChildren(...(cursor ? [button(t("home.more"), () => next(cursor))] : []));
  const next = async (/** @type {string} */ cursor) => {
    const following = await holdfast.events({ ...(found && { q: found }), cursor });
    list.append(...following.items.map(card));
    follow(following.next_cursor);
  };
  follow(page.next_cursor);
  const searchable = found || page.items.length >= MANY;
  return h(
    "div",
    null,
    titled(t("home.title")),
    searchable && search(found),
    !page.items.length && h("p", { role: "status" }, t("home.not_found", { words: found })),
    list,
    more,
  );
});

/** @param {string} found */
function search(found) {
  const { element, input } = field(t("home.search"), { type: "search", name: "q", value: found, maxlength: 100 });
  input.autocomplete = "off";
  return h("form.search", { role: "search", action: "/" }, element, h("button.button.secondary", null, t("home.find")));
}

/** @param {Types.Event} event */
function card(event) {
  const sale = saleOf(event);
  const prices = event.ticket_types.map((each) => each.unit_amount);
  const lowest = Math.min(...prices);
  const least = lowest ? money(lowest, event) : t("price.free");
  const price = lowest < Math.max(...prices) ? t("price.from", { price: least }) : least;
  return h(
    "li",
    null,
    h(
      `a.card`,
      { href: addressOf(event) },
      imageOf(event),
      h(
        "div.card-text",
        null,
        h("p.date", null, when(event.starts_at, event.time_zone, "short")),
        h("h2", null, event.name),
        h("p.place", null, placeOf(event)),
        h("p.line", null, h("span.price", null, price), h(`span.tag.${sale}`, null, saleText(event))),
      ),
    ),
  );
}
