// `/desk/events/{id}`: how an event sells, its bookings, what was done to it, and what can be done with it.

import { admin, can, dialog, exports, facts, failed, holdfast, inPath, named, numbers, openDesk, redraw, saleTag, table, tag } from "./desk.js";
import { curve, legend, namedBar, seatsOf } from "./desk-chart.js";
import { bookingRow, BOOKING_COLUMNS } from "./desk-rows.js";
import { button, h, notice, say } from "./dom.js";
import { addressOf, placeOf } from "./events.js";
import { HoldfastError } from "./holdfast.js";
import { titled } from "./page.js";
import { money, number, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

const LATEST = 8;
/** From so many of the latest bookings the curve of sold seats is drawn. */
const OF_CURVE = 200;
/** The latest bookings are read again when the event has changed, and not more often than this. */
const PAUSE_MS = 3000;

openDesk(async () => {
  const view = new EventView(await admin.event(inPath(3)));
  view.follow();
  return view.element;
});

class EventView {
  #head = h("div.head");
  #said = h("div.said");
  #failing = h("div.said");
  #seats = h("div.chart");
  #figures = table(t("desk.sales"), [t("desk.type"), numbers(t("desk.type.price")), numbers(t("desk.type.capacity")), numbers(t("desk.sold")), numbers(t("desk.held")), numbers(t("desk.free")), numbers(t("desk.share"))], []);
  #progress = h("section.card-box", { hidden: true, "aria-live": "polite" });
  #curve = h("div.chart");
  /** How many seats were sold when. @type {{ at: number, count: number }[]} */
  #points = [];
  #facts = h("div");
  #noLatest = h("p.nothing", { hidden: true }, t("desk.latest.none"));
  #latest = table(t("desk.latest"), BOOKING_COLUMNS, []);
  #history = h("ul.timeline");
  #drawn = "";
  /** @type {any} */
  #timer = null;

  /** @param {Types.OperatorsEventDetails} event */
  constructor(event) {
    this.event = event;
    const { id } = event;
    this.element = h("div.stack", null, this.#head, this.#said, this.#failing, this.#progress,
      h("div.desk-columns", null,
        h("div.stack", null,
          h("section.card-box", { "aria-labelledby": "sales" }, h("div.line", null, h("h2", { id: "sales" }, t("desk.sales"))), legend(), this.#seats, this.#figures.element),
          h("section.card-box", { "aria-labelledby": "over-time" }, h("h2", { id: "over-time" }, t("desk.over_time")), this.#curve),
          h("section.card-box", { "aria-labelledby": "latest" }, h("h2", { id: "latest" }, t("desk.latest")), this.#noLatest, this.#latest.element,
            h("div.actions", null, h("a", { href: `/desk/bookings?event_id=${id}` }, t("desk.all_bookings"))),
            exports({ event_id: id }, event.name)),
        ),
        h("div.stack", null,
          h("section.card-box", { "aria-labelledby": "facts" }, h("h2", { id: "facts" }, t("desk.facts")), this.#facts),
          h("section.card-box", { "aria-labelledby": "done" }, h("h2", { id: "done" }, t("desk.who_did_what")), this.#history),
        ),
      ),
    );
    this.show(event);
    this.#readLatest();
    this.#readPoints();
    this.#readHistory();
  }

  /** Shows each change of the event and of its seats. */
  async follow() {
    try {
      for await (const now of holdfast.watchEvent(this.event)) this.show({ ...this.event, ...without(/** @type {any} */ (now)) });
    } catch (error) {
      this.#said.replaceChildren(failed(error, () => location.reload()));
    }
  }

  /** @param {Types.OperatorsEventDetails} event */
  show(event) {
    this.event = event;
    this.#drawHead();
    const rows = event.ticket_types.map((type) => [
      type.name, type.unit_amount ? money(type.unit_amount, event) : t("price.free"), number(type.capacity), number(type.sold), number(type.held), number(type.available),
      percent(type.capacity ? type.sold / type.capacity : 0),
    ]);
    const all = seatsOf(event.ticket_types);
    if (rows.length > 1) rows.push([t("total"), "", number(all.capacity), number(all.sold), number(all.held), number(all.available), percent(all.capacity ? all.sold / all.capacity : 0)]);
    this.#figures.clear();
    this.#figures.add(rows);
    if (this.#points.length && this.#points.at(-1)?.count !== all.sold) {
      this.#points.push({ at: Date.now(), count: all.sold });
      this.#drawCurve();
    }
    this.#seats.replaceChildren(...event.ticket_types.map((type) => namedBar(type.name, type)));
    this.#facts.replaceChildren(this.#shownFacts());
    this.#drawProgress();
    this.#timer ??= setTimeout(() => this.#readLatest(), PAUSE_MS);
  }

  #shownFacts() {
    const { event } = this;
    const time = (/** @type {string | null | undefined} */ each) => each && when(each, event.time_zone, "short");
    return facts([
      [t("event.when"), when(event.starts_at, event.time_zone)],
      [t("event.where"), placeOf(event)],
      [t("desk.field.category"), event.category],
      [t("desk.field.sales_start"), time(event.sales_start)],
      [t("desk.field.sales_end"), time(event.sales_end)],
      [t("desk.field.cancel_until"), time(event.cancel_until) ?? t("desk.never")],
      [t("desk.field.max_per_booking"), number(event.max_per_booking)],
      [t("desk.field.payment_methods"), named("methods", event.payment_methods ?? "all")],
    ]);
  }

  #drawHead() {
    const { event } = this;
    const over = Boolean(event.called_off_at);
    // Only where it shows something else: a button with the focus is not replaced by each sold seat.
    const state = JSON.stringify([event.name, event.status, event.on_sale, over, event.terms_version, event.starts_at]);
    if (state === this.#drawn) return;
    this.#drawn = state;
    const { id } = event;
    const sellable = can("box-office") && !over && event.on_sale && event.status === "published";
    redraw(this.#head,
      h("div.titles", null, titled(event.name), tag(event.status ?? "published", "status"), saleTag(event),
        h("p", null, when(event.starts_at, event.time_zone), placeOf(event) && ` · ${placeOf(event)}`)),
      h("div.actions", null,
        can("admin") && !over && event.status === "draft" && button(t("desk.publish"), () => this.#change({ status: "published" }), "primary"),
        can("admin") && !over && event.status !== "archived" && button(t(event.on_sale ? "desk.close_sales" : "desk.open_sales"), () => this.#change({ on_sale: !event.on_sale })),
        sellable && h("a.button.secondary", { href: `/desk/sell?event=${id}` }, t("desk.sell")),
        can("admin") && h("a.button.secondary", { href: `/desk/events/${id}/edit` }, t("desk.edit")),
        h("a.button.secondary", { href: event.status === "draft" ? `/desk/events/${id}/preview` : addressOf(event) }, t(event.status === "draft" ? "desk.preview" : "desk.page_of_event")),
        h("a.button.secondary", { href: `/desk/events/${id}/codes` }, t("desk.codes")),
        h("a.button.secondary", { href: `/desk/events/${id}/waiting` }, t("desk.waiting")),
        can("admin") && h("a.button.secondary", { href: `/desk/events/new?copy=${id}` }, t("desk.duplicate")),
        can("admin") && event.status === "published" && button(t("desk.archive"), () => this.#change({ status: "archived" })),
        can("admin") && event.status === "archived" && button(t("desk.publish"), () => this.#change({ status: "published" })),
        can("admin") && !over && button(t("desk.cancel_event"), () => this.#cancelEvent(), "risky"),
      ),
    );
  }

  /** @param {Types.EventPatch} changes */
  async #change(changes) {
    this.#said.replaceChildren();
    try {
      await admin.updateEvent(this.event.id, changes, { ifMatch: this.event.terms_version ?? undefined });
      await this.#again();
      say(t("desk.saved"));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const old = error.code === "precondition_failed";
      if (old) await this.#again();
      this.#said.replaceChildren(old ? notice("warning", t("desk.conflict"), t("desk.conflict.look")) : failed(error));
    }
  }

  async #again() {
    this.show(await admin.event(this.event.id));
    await this.#readHistory();
  }

  #cancelEvent() {
    const { event } = this;
    const { sold, held } = seatsOf(event.ticket_types);
    dialog({
      title: t("desk.cancel_event.title", { name: event.name }),
      content: [
        h("p", null, t("desk.cancel_event.text", { sold: number(sold), held: number(held) })),
        h("p", null, h("strong", null, t("desk.for_good"))),
      ],
      yes: t("desk.cancel_event.yes"),
      risky: true,
      act: async () => {
        await admin.cancelEvent(event.id, { ifMatch: event.terms_version ?? undefined });
        await this.#again();
      },
    });
  }

  /** How far the cancellation and retried refunds have come. */
  #drawProgress() {
    const { progress, refund_retry: retry, called_off_at } = this.event;
    this.#progress.hidden = !called_off_at && !retry;
    if (this.#progress.hidden) return;
    const { refunds } = progress ?? {};
    this.#progress.replaceChildren(...[
      called_off_at && h("h2", null, t(progress?.finished ? "desk.event_cancelled.done" : "desk.event_cancelled.going")),
      progress && h("p", null, t("desk.event_cancelled.bookings", { done: number(progress.cancelled), all: number(progress.bookings) })),
      refunds && h("dl.figures", null, Object.entries(refunds).map(([name, count]) => h("div", null, h("dt", null, named("refunds", name)), h("dd", null, number(count))))),
      retry && h("p", null, t("desk.retry.is", { by: retry.by ?? t("desk.somebody"), refunds: number(retry.refunds), succeeded: number(retry.succeeded), failed: number(retry.failed), left: number(retry.remaining + retry.under_way) })),
      can("finance") && Boolean(refunds?.failed) && button(t("desk.retry"), () => this.#retry()),
    ].filter(Boolean));
  }

  async #retry() {
    this.#said.replaceChildren();
    try {
      await admin.retryRefunds(this.event.id);
      await this.#again();
    } catch (error) {
      this.#said.replaceChildren(failed(error));
    }
  }

  async #readLatest() {
    clearTimeout(this.#timer);
    this.#timer = null;
    try {
      const [{ items }, failing] = await Promise.all([
        admin.bookings({ event_id: this.event.id, limit: LATEST }),
        admin.bookings({ event_id: this.event.id, payment: "refund_failed", limit: 1 }),
      ]);
      this.#noLatest.hidden = items.length > 0;
      this.#latest.element.hidden = !items.length;
      this.#latest.clear();
      this.#latest.add(items.map((each) => bookingRow(each)));
      const shown = failing.items.length && can("finance") && !this.event.called_off_at;
      this.#failing.replaceChildren(...(shown ? [notice("warning", t("desk.retry.some"), button(t("desk.retry"), () => this.#retry()))] : []));
    } catch (error) {
      this.#said.replaceChildren(failed(error));
    }
  }

  /** Counts back from the seats that are sold now, booking by booking. */
  async #readPoints() {
    try {
      const { items } = await admin.bookings({ event_id: this.event.id, status: "confirmed", limit: OF_CURVE });
      this.#countBack(items);
    } catch (error) {
      this.#curve.replaceChildren(failed(error, () => this.#readPoints()));
    }
  }

  /** @param {readonly Types.Booking[]} items The latest, newest first */
  #countBack(items) {
    let count = seatsOf(this.event.ticket_types).sold;
    const points = [{ at: Date.now(), count }];
    for (const each of items) {
      points.unshift({ at: Date.parse(each.created_at), count });
      count -= each.items.reduce((sum, { quantity }) => sum + quantity, 0);
    }
    this.#points = items.length < OF_CURVE ? [{ at: points[0].at, count: Math.max(0, count) }, ...points] : points;
    this.#drawCurve();
  }

  #drawCurve() {
    const { time_zone: zone } = this.event;
    const [first] = this.#points;
    /** @type {Map<string, number>} */
    const days = new Map();
    for (const { at, count } of this.#points) days.set(when(new Date(at).toISOString(), zone, "day"), count);
    const rows = [...days].reverse().map(([day, count]) => [day, number(count)]);
    this.#curve.replaceChildren(
      curve(this.#points, Date.now()),
      h("p.axis", { "aria-hidden": "true" }, h("span", null, when(new Date(first.at).toISOString(), zone, "short")), h("span", null, t("desk.now", { count: this.#points.at(-1)?.count ?? 0 }))),
      h("details", null, h("summary", null, t("desk.by_day")), table(t("desk.over_time"), [t("desk.day"), numbers(t("desk.sold_until_then"))], rows).element),
    );
  }

  async #readHistory() {
    const changes = [];
    try {
      for await (const each of admin.eventHistory(this.event.id)) changes.push(each);
      this.#history.replaceChildren(...changes.reverse().map((each) => this.#changeShown(each)));
    } catch (error) {
      this.#history.replaceChildren(h("li", null, failed(error)));
    }
  }

  /** @param {Types.EventChange} change */
  #changeShown({ what, changes, by, at }) {
    const { event } = this;
    const names = new Map(event.ticket_types.map((each) => [each.id, each.name]));
    const value = (/** @type {unknown} */ each) => (each === null || each === undefined ? "–" : `${each}`);
    return h("li", null,
      h("time", { datetime: at }, when(at, event.time_zone, "short")),
      h("div.what", null,
        h("strong", null, named("what", what)),
        h("span.small", null, by ?? t("desk.somebody")),
        what === "changed" && changes?.map(({ field, ticket_type_id, old, new: now }) =>
          h("span.small", null, `${ticket_type_id ? `${names.get(ticket_type_id) ?? ""}: ` : ""}${named("change", field)}${field === "image" ? "" : `: ${value(old)} → ${value(now)}`}`)),
      ),
    );
  }
}

/** Changes on the socket lack the content, which stays as it was read. @param {any} event */
function without({ category, venue, image, ...rest }) {
  return rest;
}

/** @param {number} part */
const percent = (part) => `${number(Math.round(100 * part))} %`;
