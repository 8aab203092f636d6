// `/door`: a scanner. Who is at the door signs in with a token, chooses the event, and shows tickets to the camera.

import { busy, button, confirmed, field, h, notice } from "./dom.js";
import { mayRead } from "./door-lookup.js";
import { Scanner } from "./door-scanner.js";
import { Store } from "./door-store.js";
import { DoorView } from "./door-view.js";
import { Holdfast, HoldfastError } from "./holdfast.js";
import { attend, empty, explained, failedPage, failure, holdfast, languageLinks, titled } from "./page.js";
import { shop } from "./shop.js";
import { add, t, when } from "./words.js";

/** Events that began longer ago are over. */
const OVER_MS = 24 * 3_600_000;
const LABEL_MAX = 100;

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const header = /** @type {HTMLElement} */ (document.getElementById("header"));
/** What the present view has begun ends with it. */
let view = new AbortController();

/** @type {Store} */
let store;
/** Whether no other tab is at the door: it would not know whom this one lets in. */
const alone = new Promise((resolve) => {
  const forGood = () => {
    resolve(true);
    return new Promise(() => {}); // until the tab is closed
  };
  // A page that is reloaded takes a moment to let go.
  navigator.locks?.request("door", { signal: AbortSignal.timeout(2000) }, forGood).catch(() => resolve(false));
});

async function start() {
  frame();
  if (!isSecureContext) return main.replaceChildren(empty(t("door.insecure"), t("door.insecure.text")));
  try {
    if (!(await alone)) {
      return main.replaceChildren(empty(t("door.second"), t("door.second.text"), button(t("try_again"), () => location.reload(), "primary")));
    }
    store = await Store.open();
    await keepAddress();
    const token = await store.setting("token");
    const event = await store.setting("event");
    if (!token) signIn();
    else if (!event) await choose(token);
    else await scan(token, event);
  } catch (error) {
    main.replaceChildren(failedPage(explained(error), start));
    if (!(error instanceof HoldfastError)) throw error;
  }
  navigator.serviceWorker?.register(new URL("door-worker.js", import.meta.url), { scope: "/door" }).catch(reportError);
}

/** `/door?event=…#token=…`, as an organiser sends it: the token does not stay in the address. */
async function keepAddress() {
  const url = new URL(location.href);
  const token = new URLSearchParams(url.hash.slice(1)).get("token");
  const event = url.searchParams.get("event");
  if (token) await store.set("token", token);
  if (event) await store.set("event", event);
  url.hash = "";
  history.replaceState(null, "", url);
}

/** Draws the header anew, and ends what the view before has begun. @param {...any} more */
function frame(...more) {
  view.abort();
  view = new AbortController();
  header.classList.add("door-header");
  header.replaceChildren(
    h("a.skip", { href: "#main" }, t("skip")),
    h("span.brand", null, shop.logo ? h("img", { src: shop.logo, alt: shop.name, height: 36 }) : shop.name),
    h("nav", { "aria-label": t("door.settings") }, ...more, languageLinks()),
  );
}

// --- before it --------------------------------------------------------------------------------------------

/** @param {string} [problem] */
function signIn(problem) {
  frame();
  const { element, input, show } = field(t("door.token"), { type: "password", autocomplete: "off", spellcheck: "false", required: true }, t("door.token.hint"));
  if (problem) show(problem);
  const send = h("button.button.primary.wide", null, t("door.sign_in"));
  const submit = async () => {
    const token = input.value.trim();
    if (!token) return show(t("door.token.missing")), input.focus();
    await store.set("token", token);
    const event = await store.setting("event");
    await (event ? scan(token, event) : choose(token));
  };
  main.replaceChildren(h("div.door-narrow", null,
    titled(t("door.title")),
    h("p", null, t("door.about")),
    h("form.card-box", { novalidate: true, onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); busy(send, submit); } }, element, send),
  ));
}

/** @param {string} token @param {string} [problem] */
async function choose(token, problem) {
  frame(signOutButton());
  main.replaceChildren(h("div.waiting", { role: "status" }, h("span.spinner"), t("loading")));
  const labels = (await store.setting("labels")) ?? {};
  const gate = field(t("door.gate"), { value: labels.gate ?? "", maxlength: LABEL_MAX, autocomplete: "off" }, t("door.gate.hint"));
  const device = field(t("door.device"), { value: labels.device ?? "", maxlength: LABEL_MAX, autocomplete: "off" }, t("door.device.hint"));
  const take = async (/** @type {string} */ id) => {
    const entered = { gate: gate.input.value.trim(), device: device.input.value.trim() };
    await store.set("labels", Object.fromEntries(Object.entries(entered).filter(([, value]) => value)));
    await store.set("event", id);
    await scan(token, id);
  };
  const list = h("ul.door-events");
  const from = new Date(Date.now() - OVER_MS).toISOString();
  try {
    const { items } = await holdfast.events({ from }, { signal: AbortSignal.timeout(10_000) });
    list.append(...items.map((each) => h("li", null, button(each.name, () => take(each.id), "secondary.wide"), h("p.small", null, when(each.starts_at, each.time_zone, "short")))));
    if (!items.length) list.append(h("li", null, t("door.no_events")));
  } catch (error) {
    list.append(failure(error instanceof DOMException ? new HoldfastError("unreachable", "", { retryable: true }) : error, () => choose(token)));
  }
  const other = field(t("door.event_id"), { autocomplete: "off", spellcheck: "false" }, t("door.event_id.hint"));
  const takeOther = () => {
    const id = other.input.value.trim().toLowerCase();
    return /^[0-9a-f-]{36}$/.test(id) ? take(id) : (other.show(t("door.event_id.wrong")), other.input.focus());
  };
  main.replaceChildren(h("div.door-narrow", null,
    titled(t("door.choose")),
    problem && notice("bad", problem),
    h("div.card-box", null, gate.element, device.element),
    list,
    h("details", null, h("summary", null, t("door.another_event")),
      h("form.search", { novalidate: true, onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); takeOther(); } }, other.element, h("button.button.secondary", null, t("door.open")))),
  ));
}

function signOutButton() {
  return button(t("door.sign_out"), async () => {
    const waiting = (await store.kept()).length;
    const text = waiting ? t("door.sign_out.kept", { count: waiting }) : t("door.sign_out.text");
    if (!(await confirmed(t("door.sign_out.title"), text, t("door.sign_out"), t("door.stay")))) return;
    await store.set("token", null);
    await store.set("event", null);
    history.replaceState(null, "", location.pathname);
    signIn();
  }, "quiet");
}

// --- at it ------------------------------------------------------------------------------------------------

/** @param {string} token @param {string} eventId */
async function scan(token, eventId) {
  frame(
    button(t("door.change"), async () => {
      await store.set("event", null);
      history.replaceState(null, "", location.pathname);
      await choose(token);
    }, "quiet"),
    signOutButton(),
  );
  const client = new Holdfast({ url: location.origin, token });
  const scanner = await Scanner.open(client, store, eventId);
  scanner.labels = (await store.setting("labels")) ?? {};
  main.replaceChildren(h("div.waiting", { role: "status" }, h("span.spinner"), t("loading")));
  const door = new DoorView(scanner, client, store, { mayRead: mayRead(token), signIn, ended: view.signal });
  const first = new Promise((resolve) => scanner.addEventListener("change", resolve, { once: true }));
  scanner.run(view.signal).catch(reportError);
  if (!scanner.list) {
    await first;
    if (view.signal.aborted) return;
  }
  const { list, refusal } = scanner;
  if (list) {
    main.replaceChildren(await door.open());
    attend(main.querySelector("h1"));
  } else if (refusal?.status === 401) signIn(t("door.token.over"));
  else if (refusal?.status === 403) signIn(t("door.token.scope"));
  else if (refusal) await choose(token, t("door.event.none"));
  else {
    view.abort();
    main.replaceChildren(failedPage({ title: t("door.no_list"), advice: t("door.no_list.text") }, () => scan(token, eventId)));
  }
}

await add("door");
addEventListener("hashchange", start);
await start();
