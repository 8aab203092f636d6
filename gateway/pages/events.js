// What is known of an event without asking: its address, its image, whether it can be booked.

import { h } from "./dom.js";
import { recall, remember } from "./shop.js";
import { locale, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
/** 26 characters have 130 bits, an id has 128. */
const LENGTH = 26;
const WORDS_MAX = 60;

/** The address of an event's page: its name for people, its id for the page. @param {{ id: string, name: string }} event */
export function addressOf({ id, name }) {
  let bits = BigInt(`0x${id.replaceAll("-", "")}`);
  let short = "";
  for (let place = 0; place < LENGTH; place++, bits >>= 5n) short = ALPHABET[Number(bits & 31n)] + short;
  const plain = name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replaceAll("ß", "ss");
  const words = plain
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .slice(0, WORDS_MAX)
    .replace(/^-|-$/g, "");
  return `/e/${words && `${words}-`}${short}`;
}

/** The id in the address of an event's page; null: there is none. @param {string} path */
export function idIn(path) {
  const short = decodeURIComponent(path)
    .split("/")
    .at(-1)
    ?.toLowerCase()
    .match(/(?:^|-)([0-9a-z]{26})$/)?.[1];
  if (!short || [...short].some((each) => !ALPHABET.includes(each))) return null;
  const bits = [...short].reduce((sum, each) => (sum << 5n) | BigInt(ALPHABET.indexOf(each)), 0n);
  if (bits >> 128n) return null;
  const digits = bits.toString(16).padStart(32, "0");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** From how many free seats on they are "few": a tenth, and ten at most. @param {{ capacity: number }} of */
const few = ({ capacity }) => Math.min(10, Math.ceil(capacity / 10));

/**
 * Whether it can be booked now, and if not, why.
 * @param {Types.Event} event
 * @returns {"cancelled" | "closed" | "soon" | "ended" | "sold_out" | "few" | "open"}
 */
export function saleOf(event) {
  const now = Date.now();
  if (event.called_off_at) return "cancelled";
  if (event.sales_end && Date.parse(event.sales_end) <= now) return "ended";
  if (!event.on_sale || (event.status && event.status !== "published")) return "closed";
  if (event.sales_start && Date.parse(event.sales_start) > now) return "soon";
  const free = event.ticket_types.reduce((sum, each) => sum + each.available, 0);
  if (free === 0) return "sold_out";
  return free <= few({ capacity: event.ticket_types.reduce((sum, each) => sum + each.capacity, 0) }) ? "few" : "open";
}

/** Whether it can be booked now. @param {Types.Event} event */
export const isOpen = (event) => ["open", "few"].includes(saleOf(event));

/** In words. @param {Types.Event} event */
export function saleText(event) {
  const sale = saleOf(event);
  if (sale === "soon") return t("sale.soon", { time: when(event.sales_start ?? "", event.time_zone, "short") });
  const free = event.ticket_types.reduce((sum, each) => sum + each.available, 0);
  return t(`sale.${sale}`, { count: free });
}

/** Whether a hurry is in order. @param {Types.TicketType} type */
export const isFew = (type) => type.available > 0 && type.available <= few(type);

/** How many are free, in words. @param {Types.TicketType} type */
export function freeText(type) {
  if (type.available === 0) return t("sale.sold_out");
  return t(isFew(type) ? "sale.few" : "sale.free", { count: type.available });
}

/** Whether somebody has joined a waiting list of an event in this browser. @param {string} eventId */
export const hasWaited = (eventId) => recall(`waits ${eventId}`) !== null;

/** Somebody has joined one. @param {string} eventId */
export const rememberWaiting = (eventId) => remember(`waits ${eventId}`, "1");

/** @param {Types.Event} event */
export function placeOf({ venue }) {
  return venue ? [venue.name, venue.city].filter(Boolean).join(", ") : "";
}

const countries = new Intl.DisplayNames([locale], { type: "region" });

/** A venue's address in one line. @param {Types.Venue} venue */
export const addressOfVenue = ({ address, postal_code, city, country }) =>
  [address, [postal_code, city].filter(Boolean).join(" "), country && countries.of(country)].filter(Boolean).join(", ");

/** Its image, or a plain surface in its place. @param {Types.Event} event */
export function imageOf({ image, name }) {
  if (image)
    return h("img.picture", { src: image.url, width: image.width, height: image.height, alt: "", loading: "lazy" });
  return h("div.picture.plain", { "aria-hidden": "true" }, [...name][0]);
}
