// What needs a person now: why, how many there are, since when, what to do, and where.

import { admin, can, currencies, failed } from "./desk.js";
import { moment } from "./desk-rows.js";
import { h, notice } from "./dom.js";
import { has, money, number, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** How many examples of one kind are shown: the oldest, which wait for longest. */
const EXAMPLES = 5;
/** Where all of a kind are listed. @type {Record<string, string>} */
const LISTS = {
  refund_failed: "/desk/bookings?payment=refund_failed",
  refund_by_hand: "/desk/bookings?payment=refund_pending",
  balance_too_low: "/desk/bookings?payment=refund_pending",
  dispute: "/desk/bookings?payment=disputed",
  endpoint_disabled: "/desk/webhooks",
};

/** The section of it; nothing but a calm line where nothing needs anybody. */
export async function attention() {
  const shown = await admin.attention().then(drawn, (error) => [failed(error)]);
  return h("section.stack", { "aria-labelledby": "needs" }, h("h2", { id: "needs" }, t("desk.needs")), shown);
}

/** @param {Types.Attention} attention */
function drawn({ items, missing }) {
  return [
    missing.length > 0 && notice("warning", t("desk.needs.missing"), t("desk.needs.missing.text", { parts: missing.join(", ") })),
    items.map(item),
    !items.length && !missing.length && notice("good", t("desk.needs.nothing")),
  ].flat();
}

/** @param {Types.AttentionItem} of */
function item({ kind, mailbox, count, since, to_do, examples }) {
  // One that a later release has added says itself what it is.
  const name = `desk.needs.${kind}`;
  const values = { count, number: number(count), mailbox: mailbox ?? "" };
  const list = kind === "endpoint_disabled" && !can("admin") ? null : LISTS[kind];
  return h("div.card-box", null,
    h("h3", null, has(name) ? t(name, values) : `${number(count)} ${kind.replaceAll("_", " ")}`),
    h("p.small", null, t("desk.needs.since"), " ", moment(since)),
    h("p", null, has(`${name}.text`) ? t(`${name}.text`) : to_do),
    h("ul", null, examples.slice(0, EXAMPLES).map((each) => h("li", null, example(each)))),
    list && h("a", { href: list }, t("desk.all")),
  );
}

/** @param {Types.AttentionExample} of */
function example({ id, booking_id, reference, amount, currency, text }) {
  const about = booking_id ? h("a.nowrap", { href: `/desk/bookings/${booking_id}` }, reference ?? booking_id) : h("span.ids", null, id);
  const sum = typeof amount === "number" && currency && money(amount, { currency, currency_exponent: currencies[currency] });
  return [h("div.line", null, about, sum && h("span", null, sum)), text && h("span.small", null, text)];
}
