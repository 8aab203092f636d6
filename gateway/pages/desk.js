// What all pages of the desk have in common: the operator's token, the client, the header, and how errors are told.

import { openDialog } from "./dialog.js";
import { button, busy, field, h, notice } from "./dom.js";
import { saleOf } from "./events.js";
import { Holdfast, HoldfastError } from "./holdfast.js";
import { attend, explained, failedPage, languageLinks, offline, open, titled, watchConnection } from "./page.js";
import { shop } from "./shop.js";
import { add, has, number, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/**
 * What the gateway has told beside the shop: what the scopes in a token allow, and currencies with their decimals.
 * @typedef {{ scopes: Record<string, string[]>, currencies: Record<string, number> }} OfTheDesk
 */

export const { scopes: SCOPES, currencies } = /** @type {OfTheDesk} */ (/** @type {unknown} */ (shop));

const KEPT = "desk token";
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(KEPT, given);
  history.replaceState(history.state, "", location.pathname + location.search); // for nobody's history
}
const token = sessionStorage.getItem(KEPT);
const claims = token === null ? null : claimsOf(token);
const allowed = new Set(`${claims?.scope ?? ""}`.split(" ").flatMap((name) => SCOPES[name] ?? []));

/** Whether the token allows it: what it does not allow is not shown. @param {"read" | "box-office" | "door" | "finance" | "admin"} scope */
export const can = (scope) => allowed.has(`holdfast:${scope}`);

/** The client, which keeps the keys of unfinished requests as long as this tab is open. */
export const holdfast = new Holdfast({ url: location.origin, storage: sessionStorage, token: token ?? "" });
export const { admin } = holdfast;

await add("desk");
watchConnection(holdfast);

/** What a token says of its holder; the gateway alone decides whether it is valid. @param {string} text */
function claimsOf(text) {
  try {
    const part = text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (each) => each.charCodeAt(0))));
  } catch {
    return null;
  }
}

/**
 * Draws a page of the desk, or asks for a token first.
 * @param {() => Promise<any>} draw
 */
export function openDesk(draw) {
  return open(async () => {
    await null; // the page's module, which calls this at its beginning, has its classes from then on
    if (token === null) return signIn();
    if (!can("read")) return signIn(t("desk.no_scope"));
    try {
      return await draw();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (error.status === 401) return signIn(t("desk.ended"));
      return failedPage(told(error), () => openDesk(draw));
    }
  }, drawHeader);
}

/** The part of the address that names what the page is about, such as an id. @param {number} place */
export const inPath = (place) => decodeURIComponent(location.pathname.split("/")[place] ?? "");

function drawHeader() {
  /** @type {[string, string, boolean][]} */
  const pages = [
    ["/desk", t("desk.overview"), true],
    ["/desk/events", t("desk.events"), true],
    ["/desk/bookings", t("desk.bookings"), true],
    ["/desk/sell", t("desk.box_office"), can("box-office")],
    ["/desk/webhooks", t("desk.webhooks"), can("admin")],
  ];
  const here = pages.map(([path]) => path).filter((path) => path === location.pathname || location.pathname.startsWith(`${path}/`)).at(-1);
  document.getElementById("header")?.replaceChildren(
    h("a.skip", { href: "#main" }, t("skip")),
    h("a.brand", { href: "/desk" }, shop.name, h("span.tag", null, t("desk.name"))),
    h("nav.desk", { "aria-label": t("desk.navigation") },
      token !== null && can("read") && pages.map(([path, label, shown]) => shown && h("a", { href: path, "aria-current": path === here && "page" }, label)),
      h("span.end", null,
        claims?.sub && h("span.small", null, t("desk.signed_in", { name: claims.sub })),
        token !== null && button(t("desk.sign_out"), signOut, "quiet"),
        languageLinks(),
      ),
    ),
    offline,
  );
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function signOut() {
  sessionStorage.removeItem(KEPT);
  location.assign("/desk");
}

/** @param {string} [reason] */
function signIn(reason) {
  const input = field(t("desk.token"), { required: true, autocomplete: "off", spellcheck: "false" }, t("desk.token.hint"), "textarea");
  const submit = h("button.button.primary", { type: "submit" }, t("desk.sign_in"));
  const accept = async () => {
    const text = input.input.value.trim().replace(/^Bearer\s+/i, "");
    const scopes = `${claimsOf(text)?.scope ?? ""}`.split(" ").flatMap((/** @type {string} */ name) => SCOPES[name] ?? []);
    const wrong = !claimsOf(text) ? t("desk.token.wrong") : scopes.includes("holdfast:read") ? "" : t("desk.no_scope");
    if (!wrong) {
      try {
        await holdfast.request("GET /admin/events", { token: text, query: { limit: 1 } });
        sessionStorage.setItem(KEPT, text);
        return location.reload();
      } catch (error) {
        input.show(error instanceof HoldfastError && error.status === 401 ? t("desk.ended") : told(error).title);
      }
    } else input.show(wrong);
    input.input.focus();
  };
  return h("form.sign-in.card-box", { novalidate: true, onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); busy(submit, accept); } },
    titled(t("desk.sign_in.title")),
    reason && notice("warning", reason),
    h("p", null, t("desk.sign_in.text")),
    input.element,
    submit,
  );
}

// --- errors ----------------------------------------------------------------------------------------------

/** What went wrong, for operators. @param {unknown} error */
export function told(error) {
  if (!(error instanceof HoldfastError)) return explained(error);
  if (has(`desk.error.${error.code}`)) return { title: t(`desk.error.${error.code}`), advice: error.code === "forbidden" ? `${error.problem?.scope ?? ""}` : "" };
  const problem = error.problem;
  if (error.retryable || !problem) return explained(error);
  return { title: problem.title ?? error.message, advice: problem.detail ?? "" };
}

/** @param {unknown} error @param {() => void} [again] */
export function failed(error, again) {
  const { title, advice } = told(error);
  return notice("bad", title, advice, again && button(t("try_again"), again));
}

// --- parts -----------------------------------------------------------------------------------------------

/**
 * A table. A cell is a child; with `number` in its column it stands to the right.
 * @param {string} caption
 * @param {(string | { label: string, number: boolean })[]} columns
 * @param {any[][]} rows
 * @param {boolean} [quiet] The caption is for screen readers alone
 */
export function table(caption, columns, rows, quiet = true) {
  const body = h("tbody");
  /** @param {any[][]} more */
  const add = (more) => body.append(...more.map((cells) => h("tr", null, cells.map((cell, place) => {
    const column = columns[place];
    const aligned = typeof column === "object" && column.number ? ".number" : "";
    return place ? h(`td${aligned}`, null, cell) : h("th", { scope: "row" }, cell);
  }))));
  add(rows);
  // A column of buttons has no heading: each button says what it does.
  const head = columns.map((each) => each === "" ? h("td") : typeof each === "string" ? h("th", { scope: "col" }, each) : h("th.number", { scope: "col" }, each.label));
  const element = h("div.table-box", { tabindex: 0, role: "group", "aria-label": caption },
    h("table", null, h(quiet ? "caption.hidden-visually" : "caption", null, caption), h("thead", null, h("tr", null, head)), body));
  return { element, add, clear: () => body.replaceChildren() };
}

/** A column of numbers. @param {string} label */
export const numbers = (label) => ({ label, number: true });

/**
 * A table of a list's pages: the first, and more by a button.
 * @template T
 * @param {Types.Page<T>} first
 * @param {(cursor: string) => PromiseLike<Types.Page<T>>} read
 * @param {ReturnType<typeof table>} shown
 * @param {(item: T) => any[]} row
 */
export function paged(first, read, shown, row) {
  const more = h("div.actions");
  /** @param {Types.Page<T>} page */
  const show = ({ items, next_cursor }) => {
    shown.add(items.map(row));
    more.replaceChildren(...(next_cursor ? [button(t("desk.more"), async () => show(await read(next_cursor)))] : []));
  };
  show(first);
  return h("div.stack", null, shown.element, more);
}

/** @param {string} state @param {string} kind Whose names the state is of, in the messages */
export const tag = (state, kind) => h(`span.tag.${state}`, null, named(kind, state));

/** The name of a value; of one that a later release has added, the value itself. @param {string} kind @param {string} value */
export const named = (kind, value) => (has(`desk.${kind}.${value}`) ? t(`desk.${kind}.${value}`) : value.replaceAll("_", " "));

/** Whether an event is sold; nothing of one that customers do not see. @param {Types.OperatorsEvent} event */
export function saleTag(event) {
  if (!event.called_off_at && (event.status ?? "published") !== "published") return false;
  const sale = saleOf(event);
  return tag(sale === "few" ? "open" : sale, "sale");
}

/** Saves a file from the API. @param {string} name @param {PromiseLike<Blob>} file */
export async function download(name, file) {
  const href = URL.createObjectURL(await file);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** The three tables of bookings that match. @param {Types.ExportBookingsQuery} query @param {string} [name] */
export function exports(query, name = "") {
  const said = h("div.said");
  /** @type {[string, (query: any) => PromiseLike<any>][]} */
  const tables = [
    ["bookings", (each) => admin.exportBookings(each)],
    ["seats", (each) => admin.exportSeats(each)],
    ["money", (each) => admin.exportMoney(each)],
  ];
  return h("div.actions", null, tables.map(([kind, read]) =>
    button(t(`desk.export.${kind}`), async () => {
      said.replaceChildren();
      try {
        await download(`${name && `${name}-`}${kind}.csv`, read(query));
      } catch (error) {
        said.replaceChildren(failed(error));
      }
    }, "secondary.small"),
  ), said);
}

/**
 * A dialog that does one thing.
 * @param {{ title: string, content: any[], yes: string, risky?: boolean, act: () => unknown }} of
 */
export const dialog = (of) => openDialog({ ...of, no: t("desk.back"), failed });

/**
 * Puts other children into an element. An operator who had the focus within it goes on at the heading of the page.
 * @param {any} element
 * @param {...any} children
 */
export function redraw(element, ...children) {
  const hadFocus = element.contains(document.activeElement);
  element.replaceChildren(...children);
  const heading = hadFocus && document.querySelector("main h1");
  if (heading) attend(heading);
}

/** @param {any[]} facts Pairs of a name and a value */
export const facts = (facts) => h("dl.facts", null, facts.filter(([, value]) => value).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));

/** How many there are, as far as one page says. @param {Types.Page<unknown>} page */
export const counted = ({ items, next_cursor }) => `${number(items.length)}${next_cursor ? "+" : ""}`;
