// What all pages have in common: the client of the API, header and footer, and what is shown when something fails.

import { button, h, notice, say } from "./dom.js";
import { Holdfast, HoldfastError } from "./holdfast.js";
import { shop, storage, tabStorage } from "./shop.js";
import { has, language, t } from "./words.js";

/** The client of this browser's own guest, unless a page goes on with another. */
export let holdfast = new Holdfast({ url: location.origin, storage });

/** A client of somebody else, who ends with the tab. @param {string} name By which the tab knows them */
export const apart = (name) => new Holdfast({ url: location.origin, storage: tabStorage(name) });

/** From now on all of this page uses this client. @param {Holdfast} client */
export function goOnWith(client) {
  holdfast = client;
  watchConnection(client);
}

const main = /** @type {HTMLElement} */ (document.getElementById("main"));

/**
 * Draws a page: header, footer, and what `draw` returns, or what went wrong.
 * @param {() => Promise<any>} draw
 * @param {() => void} [drawOwnHeader] In place of the shop's
 */
export async function open(draw, drawOwnHeader = drawHeader) {
  drawOwnHeader();
  drawFooter();
  main.replaceChildren(h("div.waiting", { role: "status" }, h("span.spinner"), t("loading")));
  try {
    main.replaceChildren(await draw());
  } catch (error) {
    main.replaceChildren(failedPage(explained(error), () => open(draw, drawOwnHeader)));
    if (!(error instanceof HoldfastError)) throw error;
  }
}

/** The title of the page, and of its tab. @param {string} title */
export function titled(title) {
  document.title = `${title} · ${shop.name}`;
  return h("h1", null, title);
}

/** Sends somebody who reads by ear or keyboard to what is new. @param {any} heading */
export function attend(heading) {
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/**
 * What an error means for a customer, and what to do.
 * @param {unknown} error
 */
export function explained(error) {
  const code = error instanceof HoldfastError ? error.code : "unexpected";
  const name = has(`error.${code}`)
    ? code
    : error instanceof HoldfastError && error.retryable
      ? "unavailable"
      : "unexpected";
  const seconds = error instanceof HoldfastError ? (error.retryAfter ?? error.problem?.retry_after ?? 0) : 0;
  return { title: t(`error.${name}`), advice: t(`error.${name}.advice`, { count: Math.ceil(Number(seconds)) }) };
}

/** @param {unknown} error @param {() => void} [again] */
export function failure(error, again) {
  const { title, advice } = explained(error);
  return notice("bad", title, advice, again && button(t("try_again"), again));
}

/** A page that cannot be shown. @param {{ title: string, advice: string }} what @param {() => void} again */
export function failedPage({ title, advice }, again) {
  say(title);
  return empty(title, advice, button(t("try_again"), again, "primary"));
}

/** A page that has nothing to show. @param {string} title @param {string} text @param {...any} more */
export function empty(title, text, ...more) {
  return h("div.empty", null, titled(title), h("p", null, text), ...more);
}

// --- header and footer ------------------------------------------------------------------------------------

function drawHeader() {
  const name = shop.logo ? h("img", { src: shop.logo, alt: shop.name, height: 36 }) : shop.name;
  document.getElementById("header")?.replaceChildren(
    h("a.skip", { href: "#main" }, t("skip")),
    h("a.brand", { href: "/" }, name),
    h(
      "nav",
      { "aria-label": t("navigation") },
      h("a", { href: "/my", "aria-current": location.pathname === "/my" && "page" }, t("my_bookings")),
      languageLinks(),
    ),
    offline,
  );
}

/** Links to this page in the other languages. */
export function languageLinks() {
  const others = shop.languages.filter((each) => each !== language);
  const named = new Intl.DisplayNames([language], { type: "language" });
  return others.map((each) =>
    h(
      "a.language",
      { href: inLanguage(each), hreflang: each, lang: each, title: named.of(each) },
      each.toUpperCase(),
      h("span.hidden-visually", null, ` ${new Intl.DisplayNames([each], { type: "language" }).of(each)}`),
    ),
  );
}

/** This page in another language. @param {string} other */
function inLanguage(other) {
  const url = new URL(location.href);
  url.searchParams.set("lang", other);
  return `${url.pathname}${url.search}`;
}

function drawFooter() {
  const links = Object.entries(shop.links).map(([name, url]) => h("a", { href: url }, t(`link.${name}`)));
  document
    .getElementById("footer")
    ?.replaceChildren(h("nav", { "aria-label": t("legal") }, links), h("p", null, shop.name));
}

/** Says in the header when no live changes come; a short pause is nobody's business. */
export const offline = h("p.offline", { hidden: true, role: "status" }, t("offline"));
const OFFLINE_MS = 2000;
/** @type {any} */
let offlineSoon = null;

/** @param {Holdfast} client Whose live changes the page shows */
export function watchConnection(client) {
  client.addEventListener("connection", (event) => {
    const { open } = /** @type {CustomEvent} */ (event).detail;
    clearTimeout(offlineSoon);
    if (open && !offline.hidden) say(t("online_again"));
    if (open) offline.hidden = true;
    else
      offlineSoon = setTimeout(() => {
        offline.hidden = false;
      }, OFFLINE_MS);
  });
}

watchConnection(holdfast);
