// `/desk/bookings/{id}`: one booking, what has happened to it and where, and what can be done with it.

import { admin, can, dialog, facts, failed, holdfast, inPath, named, openDesk, redraw, tag } from "./desk.js";
import { amount, select, text, Unreadable } from "./desk-fields.js";
import { HERE, moment } from "./desk-rows.js";
import { Incomplete } from "./dialog.js";
import { button, h, say } from "./dom.js";
import { HoldfastError } from "./holdfast.js";
import { titled } from "./page.js";
import { money, number, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** What stands for itself in the timeline: when, in which part of Holdfast or at Stripe, what, and who wanted it. */
/** @typedef {{ at: string, where: string, what: string, by?: string | null, more?: (any)[] }} Happening */

/** @typedef {{ booking: Types.Booking, event: Types.OperatorsEvent | null, history: Types.Transition[], tickets: Types.BookingTickets | null, mails: readonly Types.Mail[] }} Known */

openDesk(async () => {
  const view = new BookingView(await known(inPath(3)));
  view.follow();
  return view.element;
});

/** @param {string} id @returns {Promise<Known>} */
async function known(id) {
  const booking = await holdfast.booking(id);
  const history = [];
  const [event, tickets, mails] = await Promise.all([
    admin.event(booking.event_id).catch(orNull),
    booking.status === "confirmed" || booking.status === "cancelled" ? holdfast.tickets(id, { limit: 200 }).catch(orNull) : null,
    admin.mails(id),
  ]);
  for await (const each of holdfast.history(id)) history.push(each);
  return { booking, event, history, tickets, mails: mails.items };
}

/** @param {unknown} error */
function orNull(error) {
  if (error instanceof HoldfastError && error.status === 404) return null;
  throw error;
}

/** What can still go back: refunds that are under way are not counted in it. @param {Types.Booking} booking */
function left({ payment }) {
  const given = (payment.refunds ?? []).filter((each) => each.status !== "failed").reduce((sum, each) => sum + each.amount, 0);
  return (payment.amount_captured ?? 0) - Math.max(given, payment.amount_refunded ?? 0);
}

class BookingView {
  #head = h("div.head");
  #said = h("div.said");
  #body = h("div.desk-columns");

  /** @param {Known} known */
  constructor(known) {
    this.known = known;
    this.element = h("div.stack", null, this.#head, this.#said, this.#body);
    this.#show();
  }

  async follow() {
    try {
      for await (const now of holdfast.watch(this.known.booking)) if (now.version > this.known.booking.version) await this.#again();
    } catch (error) {
      this.#said.replaceChildren(failed(error, () => location.reload()));
    }
  }

  async #again() {
    this.known = await known(this.known.booking.id);
    this.#show();
  }

  #show() {
    const { booking, event } = this.known;
    const rest = left(booking);
    redraw(this.#head,
      h("div.titles", null, titled(booking.reference), tag(booking.status, "booking"), tag(booking.payment.status, "payment"),
        h("p", null, event && h("a", { href: `/desk/events/${event.id}` }, event.name), event && ` · ${when(event.starts_at, event.time_zone, "short")}`)),
      h("div.actions", null,
        can("finance") && rest > 0 && button(t("desk.refund"), () => this.#refund(rest)),
        can("box-office") && button(t("desk.customer.change"), () => this.#changeCustomer()),
        can("box-office") && booking.customer && mailKinds(booking).length > 0 && button(t("desk.mail.send"), () => this.#sendMail()),
        can("box-office") && (booking.status === "confirmed" || booking.status === "pending") && !booking.closing && button(t("desk.cancel"), () => this.#cancel(rest), "risky"),
      ),
    );
    redraw(this.#body,
      h("section.card-box", { "aria-labelledby": "history" }, h("h2", { id: "history" }, t("desk.history")),
        h("ul.timeline", null, happenings(this.known).map(shown))),
      h("div.stack", null, this.#order(), this.#customer(), this.#money()),
    );
  }

  #order() {
    const { booking, event, tickets } = this.known;
    const names = new Map(event?.ticket_types.map((each) => [each.id, each.name]));
    return h("section.card-box", { "aria-labelledby": "order" }, h("h2", { id: "order" }, t("event.tickets")),
      h("ul.lines", null, booking.items.map((each) => h("li.line", null,
        h("span", null, `${number(each.quantity)} × ${names.get(each.ticket_type_id) ?? t("ticket")}`), h("span", null, money(each.quantity * each.unit_amount, booking)))),
        booking.discount ? h("li.line", null, h("span", null, [t("desk.code"), booking.code].filter(Boolean).join(" ")), h("span", null, money(-booking.discount, booking))) : null,
        h("li.line.sum", null, h("span", null, t("total")), h("strong", null, money(booking.amount, booking)))),
      tickets !== null && tickets.items.length > 0 && h("ul.lines", { "aria-label": t("desk.tickets") }, tickets.items.map((each) => h("li.line", null,
        h("span", null, `${each.ticket_type} ${number(each.number)}`),
        h("span", null, each.used_at ? h("span.small", null, when(each.used_at, HERE, "short"), " ") : null, tag(each.state, "ticket")))))
    );
  }

  #customer() {
    const { customer, owner } = this.known.booking;
    return h("section.card-box", { "aria-labelledby": "customer" }, h("h2", { id: "customer" }, t("desk.customer")),
      facts([
        [t("contact.name"), customer?.name ?? t("desk.nobody")],
        [t("contact.email"), customer && h("a", { href: `mailto:${customer.email}` }, customer.email)],
        [t("desk.phone"), customer?.phone],
        [t("desk.owner"), owner && h("span.ids", null, owner)],
      ]));
  }

  #money() {
    const { booking } = this.known;
    const { payment } = booking;
    return h("section.card-box", { "aria-labelledby": "money" }, h("h2", { id: "money" }, t("desk.payment")),
      facts([
        [t("desk.captured"), money(payment.amount_captured ?? 0, booking)],
        [t("desk.refunded"), payment.amount_refunded ? money(payment.amount_refunded, booking) : null],
        [t("desk.method"), payment.method && named("method", payment.method)],
        [t("desk.note"), payment.note],
        [t("desk.intent"), payment.intent_id && h("span.ids", null, payment.intent_id)],
        [t("desk.refund_waiting"), payment.refund_waiting],
        [t("desk.refund_error"), payment.refund_error],
        [t("desk.last_error"), payment.last_error && `${payment.last_error.message ?? payment.last_error.code}`],
        [t("desk.booking_id"), h("span.ids", null, booking.id)],
      ]));
  }

  // --- what operators do

  /** @param {number} rest */
  #refund(rest) {
    const { booking, tickets } = this.known;
    const decimals = booking.currency_exponent ?? 2;
    const valid = tickets?.items.filter((each) => each.state === "valid" || each.state === "used") ?? [];
    const some = amount(t("desk.amount"), () => decimals, {});
    some.element.hidden = true;
    const prices = new Map(booking.items.map((each) => [each.ticket_type_id, each.unit_amount - (each.unit_discount ?? 0)]));
    const boxes = valid.map((each) => ({ ticket: each, box: h("input", { type: "checkbox" }) }));
    const list = h("div.choices", { hidden: true, role: "group", "aria-label": t("desk.tickets") }, boxes.map(({ ticket, box }) =>
      h("label.choice", null, box, `${ticket.ticket_type} ${number(ticket.number)} · ${money(prices.get(ticket.ticket_type_id) ?? 0, booking)}`)));
    // The last ticket goes with the whole booking.
    const kinds = ["all", "amount", ...(booking.status === "confirmed" && valid.length > 1 ? ["tickets"] : [])];
    const radios = kinds.map((kind, place) => h("input", { type: "radio", name: "kind", value: kind, checked: !place }));
    const kind = () => radios.find((each) => each.checked)?.value ?? "all";
    const wanted = () => {
      if (kind() === "all") return { body: {}, sum: rest };
      if (kind() === "amount") {
        const sum = some.value();
        return { body: { amount: sum }, sum };
      }
      const chosen = boxes.filter(({ box }) => box.checked).map(({ ticket }) => ticket);
      return { body: { ticket_ids: chosen.map(({ id }) => id) }, sum: chosen.reduce((sum, { ticket_type_id }) => sum + (prices.get(ticket_type_id) ?? 0), 0) };
    };
    const effect = h("p", { "aria-live": "polite" });
    const { submit } = dialog({
      title: t("desk.refund.title"),
      content: [
        h("div.choices", { role: "radiogroup", "aria-label": t("desk.refund.how") }, radios.map((radio, place) => h("label.choice", null, radio, t(`desk.refund.${kinds[place]}`, { amount: money(rest, booking) })))),
        some.element, list, effect,
        h("p", null, h("strong", null, t(booking.payment.method ? "desk.refund.noted" : "desk.for_good"))),
      ],
      yes: "",
      risky: true,
      act: async () => {
        const { body } = reading(wanted);
        if (kind() === "amount" && !body.amount) throw new Incomplete(t("desk.refund.no_amount"));
        if (kind() === "tickets" && !body.ticket_ids?.length) throw new Incomplete(t("desk.refund.no_tickets"));
        await admin.refund(booking.id, body, { ifMatch: booking.version });
        await this.#again();
        say(t("desk.saved"));
      },
    });
    const change = () => {
      some.element.hidden = kind() !== "amount";
      list.hidden = kind() !== "tickets";
      let sum = 0;
      try {
        sum = wanted().sum ?? 0;
      } catch {
        // It is not complete yet.
      }
      submit.textContent = sum ? t("desk.refund.yes", { amount: money(sum, booking) }) : t("desk.refund");
      effect.textContent = t(`desk.refund.${kind()}.effect`);
    };
    for (const each of [...radios, some.input, ...boxes.map(({ box }) => box)]) each.addEventListener("input", change);
    change();
  }

  /** @param {number} rest */
  #cancel(rest) {
    const { booking } = this.known;
    const seats = booking.items.reduce((sum, each) => sum + each.quantity, 0);
    dialog({
      title: t("desk.cancel.title", { reference: booking.reference }),
      content: [
        h("p", null, t("desk.cancel.seats", { count: seats })),
        h("p", null, t(rest > 0 ? (booking.payment.method ? "desk.cancel.by_hand" : "desk.cancel.refund") : "desk.cancel.nothing", { amount: money(rest, booking) })),
        h("p", null, h("strong", null, t("desk.for_good"))),
      ],
      yes: t("desk.cancel.yes"),
      risky: true,
      act: async () => {
        await holdfast.cancel(booking.id, { ifMatch: booking.version });
        await this.#again();
        say(t("desk.saved"));
      },
    });
  }

  #sendMail() {
    const { booking } = this.known;
    const kind = select(t("desk.mail.kind"), mailKinds(booking).map((each) => [each, t(`desk.mail.kind.${each}`)]));
    dialog({
      title: t("desk.mail.send"),
      content: [kind.element, h("p", null, t("desk.mail.send.text", { email: booking.customer?.email ?? "" }))],
      yes: t("desk.mail.send"),
      act: async () => {
        await admin.resendMail(booking.id, { kind: kind.value() });
        await this.#again();
        say(t("desk.saved"));
      },
    });
  }

  #changeCustomer() {
    const { booking } = this.known;
    const { customer } = booking;
    const name = text(t("contact.name"), { required: true, maxlength: 200 });
    const email = text(t("contact.email"), { type: "email", required: true, maxlength: 254 });
    const phone = text(t("desk.phone"), { type: "tel" }, t("desk.phone.hint"));
    name.fill(customer?.name);
    email.fill(customer?.email);
    phone.fill(customer?.phone);
    dialog({
      title: t("desk.customer.change"),
      content: [name.element, email.element, phone.element],
      yes: t("desk.save"),
      act: async () => {
        const body = reading(() => ({ name: name.value(), email: email.value(), phone: phone.value(), locale: customer?.locale ?? document.documentElement.lang }));
        await holdfast.setCustomer(booking.id, body, { ifMatch: booking.version });
        await this.#again();
        say(t("desk.saved"));
      },
    });
  }
}

/** The mails that are true of a booking. @param {Types.Booking} booking */
function mailKinds({ status, payment }) {
  /** @type {["confirmation" | "cancellation" | "refund", boolean][]} */
  const kinds = [["confirmation", status === "confirmed"], ["cancellation", status === "cancelled"], ["refund", Boolean(payment.amount_refunded)]];
  return kinds.filter(([, is]) => is).map(([kind]) => kind);
}

/** What fields of a dialog have. @template T @param {() => T} values @returns {T} */
function reading(values) {
  try {
    return values();
  } catch (error) {
    throw error instanceof Unreadable ? new Incomplete(error.message) : error;
  }
}

// --- what has happened ------------------------------------------------------------------------------------

const PARTS = /** @type {Record<string, string>} */ ({
  time: "booking", "payment.intent_created": "payment", "payment.intent_rejected": "payment",
});

/** In which part something began. @param {string} cause */
function partOf(cause) {
  return PARTS[cause] ?? (cause.startsWith("payment.") ? "stripe" : "gateway");
}

/** Everything that is known of the booking, in the order of time. @param {Known} known @returns {Happening[]} */
function happenings({ booking, history, tickets, mails }) {
  const { payment } = booking;
  /** @type {Happening[]} */
  const found = history.map((each, place) => {
    const before = history[place - 1];
    return {
      at: each.at,
      where: partOf(each.cause_type),
      what: named("cause", each.cause_type),
      by: each.by,
      more: [
        each.to_status !== before?.to_status && tag(each.to_status, "booking"),
        each.payment_status !== before?.payment_status && tag(each.payment_status, "payment"),
        each.reason && each.reason !== before?.reason && h("span.small", null, named("reason", each.reason)),
      ],
    };
  });
  for (const each of payment.refunds ?? []) {
    const sum = money(each.amount, booking);
    if (each.created_at) found.push({ at: each.created_at, where: each.by_hand ? "stripe" : "payment", what: t(each.by_hand ? "desk.refund.by_hand" : "desk.refund.asked", { amount: sum }), by: each.by, more: [h("span.ids", null, each.id)] });
    if (each.updated_at && (each.status === "succeeded" || each.status === "failed")) {
      found.push({ at: each.updated_at, where: payment.method ? "gateway" : "stripe", what: t(`desk.refund.${each.status}`, { amount: sum }), more: [each.reason && h("span.small", null, each.reason), each.stripe_refund_id && h("span.ids", null, each.stripe_refund_id)] });
    }
  }
  for (const each of payment.disputes ?? []) {
    if (each.opened_at) found.push({ at: each.opened_at, where: "stripe", what: t("desk.dispute", { amount: money(each.amount ?? 0, booking), reason: each.reason ?? "" }), more: [h("span.small", null, each.status), each.respond_by && h("span.small", null, t("desk.dispute.until", { time: when(each.respond_by, HERE, "short") })), h("span.ids", null, each.id)] });
  }
  for (const each of tickets?.items ?? []) {
    if (each.used_at) found.push({ at: each.used_at, where: "door", what: t("desk.let_in", { ticket: `${each.ticket_type} ${each.number}` }), by: each.check_in?.by, more: [each.check_in?.gate && h("span.small", null, each.check_in.gate)] });
  }
  for (const each of mails) {
    found.push({ at: each.ended_at ?? each.tried_at ?? each.made_at, where: "mail", what: t(`desk.mail.${each.status}`, { kind: named("mail.kind", each.kind) }), by: each.by, more: [each.recipient && h("span.small", null, each.recipient), each.error && h("span.small", null, each.error)] });
  }
  return found.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

/** @param {Happening} happening */
const shown = ({ at, where, what, by, more = [] }) => h("li", null,
  h("div", null, moment(at), h("br"), h("span.tag", null, t(`desk.part.${where}`))),
  h("div.what", null, h("strong", null, what), by && h("span.small", null, t("desk.by", { name: by })), h("div.actions", null, more)),
);
