// The language of the page, its messages, and how money and times are written in it.

import { recall, remember, shop } from "./shop.js";

const asked = new URLSearchParams(location.search).get("lang") ?? "";
if (shop.languages.includes(asked)) remember("language", asked);

/** The language: asked for in the address, chosen here before, or liked most by the browser. */
export const language =
  [asked, recall("language") ?? "", document.documentElement.lang].find((each) => shop.languages.includes(each)) ??
  "en";
document.documentElement.lang = language;

/** The language with the region of this browser, by which dates are written: en-GB and en-US differ. */
export const locale = navigator.languages.find((each) => each.split("-")[0] === language) ?? language;

const plurals = new Intl.PluralRules(language);
const messages = await read(language);

/** The messages in a file. @param {string} name @returns {Promise<Record<string, any>>} */
async function read(name) {
  return (await fetch(new URL(`messages/${name}.json`, import.meta.url))).json();
}

/** Adds the messages that one page has for itself. @param {string} page */
export async function add(page) {
  Object.assign(messages, await read(`${page}.${language}`));
}

/** Whether there is a message of this name. @param {string} name */
export const has = (name) => Object.hasOwn(messages, name);

/**
 * The message of this name. What stands in braces in it is replaced by these values; of a message with several forms
 * the one is taken that fits `count`.
 * @param {string} name
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(name, values = {}) {
  const message = messages[name];
  const text = typeof message === "string" ? message : (message[plurals.select(Number(values.count))] ?? message.other);
  return text.replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ key) =>
    typeof values[key] === "number" ? number(values[key]) : values[key],
  );
}

/** @param {number} value */
export const number = (value) => new Intl.NumberFormat(locale).format(value);

/**
 * An amount in the currency's minor unit, as people write it.
 * @param {number} amount
 * @param {{ currency: string, currency_exponent?: number | null }} of An event or a booking
 */
export function money(amount, { currency, currency_exponent }) {
  const format = new Intl.NumberFormat(locale, { style: "currency", currency });
  const decimals = currency_exponent ?? format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(amount / 10 ** decimals);
}

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/**
 * A time by the venue's clock; the zone is said where this device is in another one.
 * @param {string} time
 * @param {string | undefined} timeZone
 * @param {"day" | "short" | "long" | "time"} form
 */
export function when(time, timeZone, form = "long") {
  const zone = timeZone === HERE || form === "day" ? undefined : "short";
  const clock = /** @type {const} */ ({ hour: "numeric", minute: "2-digit", timeZoneName: zone });
  const forms = /** @type {const} */ ({
    day: { weekday: "short", day: "numeric", month: "short", year: "numeric" },
    short: { weekday: "short", day: "numeric", month: "short", year: "numeric", ...clock },
    long: { weekday: "long", day: "numeric", month: "long", year: "numeric", ...clock },
    time: clock,
  });
  return new Intl.DateTimeFormat(locale, { timeZone, ...forms[form] }).format(new Date(time));
}

/** @param {number} seconds As minutes and seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
