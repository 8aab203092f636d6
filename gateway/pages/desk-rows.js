// How bookings stand in tables.

import { numbers, tag } from "./desk.js";
import { h } from "./dom.js";
import { locale, money, number, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const MOMENT = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "short" });

/** A time by this device's clock, in few characters. @param {string} time */
export const moment = (time) => h("time.nowrap", { datetime: time }, MOMENT.format(new Date(time)));

export const BOOKING_COLUMNS = [t("desk.booking"), t("desk.customer"), numbers(t("desk.seats_count")), numbers(t("desk.amount")), t("desk.booking.status"), t("desk.payment")];

/** @param {Types.Booking} booking */
export function bookingRow(booking) {
  const seats = booking.items.reduce((sum, each) => sum + each.quantity, 0);
  return [
    [h("a.nowrap", { href: `/desk/bookings/${booking.id}` }, booking.reference), h("span.small.line", null, moment(booking.created_at))],
    booking.customer ? [booking.customer.name, h("span.small.line", null, booking.customer.email)] : "–",
    number(seats),
    booking.amount ? money(booking.amount, booking) : t("price.free"),
    tag(booking.status, "booking"),
    tag(booking.payment.status, "payment"),
  ];
}
