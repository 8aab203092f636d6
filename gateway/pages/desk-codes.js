// `/desk/events/{id}/codes`: the promo codes of an event.

import { admin, can, dialog, failed, inPath, numbers, openDesk, paged, table, tag } from "./desk.js";
import { amount, check, read, refused, select, text, time, whole } from "./desk-fields.js";
import { Incomplete } from "./dialog.js";
import { button, h, say } from "./dom.js";
import { titled } from "./page.js";
import { money, number, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */
/** @import { Filled } from "./desk-fields.js" */

openDesk(async () => {
  const event = await admin.event(inPath(3));
  const first = await admin.promoCodes(event.id);
  const view = new Codes(event, first);
  return view.element;
});

class Codes {
  #list = h("div.card-box");

  /** @param {Types.OperatorsEventDetails} event @param {Types.Page<Types.PromoCode>} first */
  constructor(event, first) {
    this.event = event;
    this.element = h("div", null,
      h("div.head", null,
        h("div.titles", null, titled(t("desk.codes")), h("p", null, h("a", { href: `/desk/events/${event.id}` }, event.name))),
        can("admin") && button(t("desk.code.new"), () => this.#create(), "primary")),
      this.#list,
    );
    this.#show(first);
  }

  async #again() {
    this.#show(await admin.promoCodes(this.event.id));
    say(t("desk.saved"));
  }

  /** @param {Types.Page<Types.PromoCode>} first */
  #show(first) {
    const columns = [t("desk.code"), t("desk.code.gives"), numbers(t("desk.code.used")), numbers(t("desk.held")), t("desk.code.until"), t("desk.code.state"), ...(can("admin") ? [""] : [])];
    this.#list.replaceChildren(first.items.length
      ? paged(first, (cursor) => admin.promoCodes(this.event.id, { cursor }), table(t("desk.codes"), columns, []), (each) => this.#row(each))
      : h("p.nothing", null, t("desk.codes.none")));
  }

  /** @param {Types.PromoCode} code */
  #row(code) {
    const { event } = this;
    const names = new Map(event.ticket_types.map((each) => [each.id, each.name]));
    const gives = [
      code.percent_off !== null && t("desk.code.percent", { percent: number(code.percent_off) }),
      code.amount_off !== null && t("desk.code.off", { amount: money(code.amount_off, event) }),
      code.unlocks.length > 0 && t("desk.code.unlocks_types", { types: code.unlocks.map((each) => names.get(each) ?? "").join(", ") }),
    ].filter(Boolean).join(" · ");
    return [
      code.code,
      [gives, code.ticket_types.length > 0 && h("span.small.line", null, code.ticket_types.map((each) => names.get(each) ?? "").join(", "))],
      code.uses_max === null ? number(code.used) : `${number(code.used)} / ${number(code.uses_max)}`,
      number(code.held),
      code.valid_until ? when(code.valid_until, event.time_zone, "short") : "–",
      tag(code.active ? "open" : "closed", "code"),
      ...(can("admin") ? [this.#switchButton(code)] : []),
    ];
  }

  /** @param {Types.PromoCode} code */
  #switchButton(code) {
    const label = t(code.active ? "desk.code.stop" : "desk.code.resume");
    const made = button(label, () => this.#switch(code), "secondary.small");
    made.setAttribute("aria-label", `${label}: ${code.code}`);
    return made;
  }

  /** @param {Types.PromoCode} code */
  async #switch(code) {
    try {
      await admin.updatePromoCode(this.event.id, code.id, { active: !code.active });
      await this.#again();
    } catch (error) {
      this.#list.prepend(failed(error));
    }
  }

  #create() {
    const { event } = this;
    const zone = () => event.time_zone ?? "UTC";
    const kind = select(t("desk.code.gives"), [["percent_off", t("desk.code.percent_off")], ["amount_off", t("desk.code.amount_off")], ["nothing", t("desk.code.unlocks_only")]]);
    /** @type {Map<string, Filled>} */
    const fields = new Map([
      ["code", text(t("desk.code"), { maxlength: 40, autocomplete: "off" }, t("desk.code.hint"))],
      ["count", whole(t("desk.code.count"), {}, t("desk.code.count.hint"))],
      ["kind", kind],
      ["percent_off", whole(t("desk.code.percent_off"))],
      ["amount_off", amount(t("desk.code.amount_off"), () => event.currency_exponent ?? 2)],
      ["uses_max", whole(t("desk.code.uses_max"), {}, t("desk.code.uses_max.hint"))],
      ["valid_until", time(t("desk.code.until"), zone, {}, t("desk.code.until.hint"))],
    ]);
    const boxes = event.ticket_types.map((type) => ({ type, field: check(type.name) }));
    const hidden = boxes.filter(({ type }) => type.hidden).map(({ type }) => ({ type, field: check(type.name) }));
    const change = () => {
      for (const name of ["percent_off", "amount_off"]) /** @type {Filled} */ (fields.get(name)).element.hidden = kind.raw() !== name;
    };
    kind.input.addEventListener("change", change);
    change();
    dialog({
      title: t("desk.code.new"),
      content: [
        [...fields.values()].map((each) => each.element),
        h("fieldset.choices", null, h("legend", null, t("desk.code.for_types")), boxes.map(({ field }) => field.element)),
        hidden.length > 0 && h("fieldset.choices", null, h("legend", null, t("desk.code.unlocks")), hidden.map(({ field }) => field.element)),
      ],
      yes: t("desk.save"),
      act: async () => {
        const values = read(fields);
        if (!values) throw new Incomplete(t("desk.incomplete"));
        const { code, count, kind: gives, uses_max, valid_until } = values;
        const chosen = (/** @type {typeof boxes} */ of) => of.filter(({ field }) => field.value()).map(({ type }) => type.id);
        const body = {
          ...(count ? { prefix: code, count } : { code }),
          ...(gives !== "nothing" && { [gives]: values[gives] }),
          ...(chosen(boxes).length && { ticket_types: chosen(boxes) }),
          ...(chosen(hidden).length && { unlocks: chosen(hidden) }),
          ...(uses_max && { uses_max }),
          ...(valid_until && { valid_until }),
        };
        try {
          await admin.createPromoCodes(event.id, /** @type {any} */ (body));
        } catch (error) {
          const shown = refused(error, ([name]) => fields.get(name === "prefix" ? "code" : `${name}`));
          throw shown ? new Incomplete(t("desk.incomplete")) : error;
        }
        await this.#again();
      },
    });
  }
}
