// What operators fill in: values in fields, times by the venue's clock, amounts in the main unit, and what is wrong
// with them at the field they are of.

import { field, h } from "./dom.js";
import { HoldfastError } from "./holdfast.js";
import { has, locale, t } from "./words.js";

/**
 * A field whose value is sent. `raw`: what is in it, by which it is compared; `value`: what is sent; `fill`: puts a
 * value of the API into it.
 * @typedef {object} Filled
 * @property {any} element
 * @property {any} input
 * @property {(problem?: string) => void} show
 * @property {() => string} raw
 * @property {() => any} value Raises Unreadable
 * @property {(value: any) => void} fill
 */

/** What is filled in cannot be read; the message is shown at the field. */
export class Unreadable extends Error {}

/** @param {string} label @param {Record<string, any>} [attributes] @param {string} [hint] @param {"input" | "textarea" | "select"} [tag] @returns {Filled} */
export function text(label, attributes = {}, hint, tag = "input") {
  const made = field(label, attributes, hint, tag);
  return {
    ...made,
    raw: () => made.input.value.trim(),
    value: () => made.input.value.trim() || missing(attributes.required),
    fill: (value) => { made.input.value = value ?? ""; },
  };
}

/** @param {unknown} required */
function missing(required) {
  if (required) throw new Unreadable(t("desk.missing"));
  return null;
}

/** @param {string} label @param {[string, string][]} options Values and their names @param {string} [hint] @returns {Filled} */
export function select(label, options, hint) {
  const made = text(label, {}, hint, "select");
  made.input.append(...options.map(([value, name]) => h("option", { value }, name)));
  return made;
}

/** @param {string} label @param {Record<string, any>} [attributes] @param {string} [hint] @returns {Filled} */
export function whole(label, attributes = {}, hint) {
  const made = text(label, { inputmode: "numeric", ...attributes }, hint);
  return {
    ...made,
    value: () => {
      if (!made.raw()) return missing(attributes.required);
      if (!/^\d{1,15}$/.test(made.raw())) throw new Unreadable(t("desk.not_whole"));
      return Number(made.raw());
    },
  };
}

/** @param {string} label @param {string} [hint] @returns {Filled} */
export function check(label, hint) {
  const made = field(label, { type: "checkbox" }, hint);
  made.element.classList.add("check");
  made.element.prepend(made.input);
  return {
    ...made,
    raw: () => String(made.input.checked),
    value: () => made.input.checked,
    fill: (value) => { made.input.checked = Boolean(value); },
  };
}

/**
 * An amount of money, in the currency's main unit for people and in its minor unit for the API.
 * @param {string} label
 * @param {() => number} decimals Of the currency
 * @param {Record<string, any>} [attributes]
 * @param {string} [hint]
 * @returns {Filled}
 */
export function amount(label, decimals, attributes = {}, hint) {
  const made = text(label, { inputmode: "decimal", ...attributes }, hint);
  return {
    ...made,
    value: () => {
      if (!made.raw()) return missing(attributes.required);
      const found = amountIn(made.raw(), decimals());
      if (found === null) throw new Unreadable(t("desk.not_money", { example: amountText(10 ** decimals() * 12, decimals()) }));
      return found;
    },
    fill: (value) => { made.input.value = value === null || value === undefined ? "" : amountText(value, decimals()); },
  };
}

/**
 * A text such as "12.50" or "12,5" in the minor unit; null: it is none, or has more decimals than the currency.
 * @param {string} text
 * @param {number} decimals
 */
export function amountIn(text, decimals) {
  const [, main, part = ""] = text.match(/^(\d{1,12})(?:[.,](\d*))?$/) ?? [];
  if (main === undefined || part.length > decimals) return null;
  return Number(main + part.padEnd(decimals, "0"));
}

/** @param {number} amount @param {number} decimals */
export const amountText = (amount, decimals) =>
  new Intl.NumberFormat(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals, useGrouping: false }).format(amount / 10 ** decimals);

/**
 * A time by the venue's clock.
 * @param {string} label
 * @param {() => string} zone
 * @param {Record<string, any>} [attributes]
 * @param {string} [hint]
 * @returns {Filled}
 */
export function time(label, zone, attributes = {}, hint) {
  const made = text(label, { type: "datetime-local", ...attributes }, hint);
  return {
    ...made,
    value: () => {
      if (made.input.validity.badInput) throw new Unreadable(t("desk.not_time"));
      return made.raw() ? utcOf(made.raw(), zone()) : missing(attributes.required);
    },
    fill: (value) => { made.input.value = value ? localOf(value, zone()) : ""; },
  };
}

/** A time as the clock in this zone shows it, such as "2026-05-01T19:30". @param {string | number} time @param {string} timeZone */
export function localOf(time, timeZone) {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
  }).formatToParts(new Date(time));
  const { year, month, day, hour, minute } = Object.fromEntries(parts.map((each) => [each.type, each.value]));
  return `${year.padStart(4, "0")}-${month}-${day}T${hour}:${minute}`;
}

/** The UTC time at which the clock in this zone shows this one. @param {string} local @param {string} timeZone */
export function utcOf(local, timeZone) {
  const shown = Date.parse(`${local}Z`);
  let found = shown;
  // The first step takes the offset of a time some hours off, the second that of the time itself.
  for (const _ of [1, 2]) found += shown - Date.parse(`${localOf(found, timeZone)}Z`);
  return new Date(found).toISOString();
}

export const isZone = (/** @type {string} */ name) => {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
};

/**
 * The values of fields. Shows what cannot be read at its field, and goes there. null: something cannot be read.
 * @param {Map<string, Filled>} fields By name
 * @returns {Record<string, any> | null}
 */
export function read(fields) {
  /** @type {Record<string, any>} */
  const values = {};
  let first = null;
  for (const [name, each] of fields) {
    each.show();
    try {
      values[name] = each.value();
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      each.show(error.message);
      first ??= each;
    }
  }
  if (first) attendTo(first);
  return first ? null : values;
}

/**
 * Shows what the API refuses at the fields that it names. Returns whether all of it has a field.
 * @param {unknown} error
 * @param {(loc: (string | number)[]) => Filled | undefined} find Where a value of the body stands
 */
export function refused(error, find) {
  const errors = (error instanceof HoldfastError && error.problem?.errors) || [];
  const found = errors.map(({ loc, msg, type }) => ({ at: loc[0] === "body" ? find(loc.slice(1)) : undefined, text: rule(type, msg) }));
  for (const { at, text } of found) at?.show(text);
  const first = found.find(({ at }) => at)?.at;
  if (first) attendTo(first);
  return errors.length > 0 && found.every(({ at }) => at);
}

/** A rule in words: in the page's language where it is known. @param {string} type @param {string} msg */
const rule = (type, msg) => (has(`desk.rule.${type}`) ? t(`desk.rule.${type}`) : msg);

/** @param {Filled} wrong */
function attendTo({ input }) {
  const folded = input.closest("details");
  if (folded) folded.open = true;
  input.focus();
}
