// `/door`: a scanner. Who is at the door signs in with a token, chooses the event, and shows tickets to the camera.

import { busy, button, confirmed, field, h, notice, say } from "./dom.js";
import { before, clock, kindOf, shown, ticketText } from "./door-answer.js";
import { Camera } from "./door-camera.js";
import { canVerify, read } from "./door-code.js";
import { found, holderOf, mayRead } from "./door-lookup.js";
import { Scanner } from "./door-scanner.js";
import { stayAwake, unlock } from "./door-signal.js";
import { Store } from "./door-store.js";
import { Holdfast, HoldfastError } from "./holdfast.js";
import { attend, empty, explained, failedPage, failure, holdfast, languageLinks, titled } from "./page.js";
import { shop } from "./shop.js";
import { add, number, t, when } from "./words.js";

/** @import { Answer, Shown } from "./door-scanner.js" */

/** How many of the last answers are listed. */
const RECENT = 20;
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
  const door = new DoorView(scanner, client, mayRead(token), view.signal);
  const first = new Promise((resolve) => scanner.addEventListener("change", resolve, { once: true }));
  scanner.run(view.signal).catch(reportError);
  if (!scanner.list) {
    await first;
    if (view.signal.aborted) return;
  }
  const { list, refusal } = scanner;
  if (list) return door.open();
  if (refusal?.status === 401) signIn(t("door.token.over"));
  else if (refusal?.status === 403) signIn(t("door.token.scope"));
  else if (refusal) await choose(token, t("door.event.none"));
  else {
    view.abort();
    main.replaceChildren(failedPage({ title: t("door.no_list"), advice: t("door.no_list.text") }, () => scan(token, eventId)));
  }
}

class DoorView {
  #scanner;
  #client;
  #mayRead;
  #ended;
  #camera;
  #sound = true;
  /** @type {Answer[]} */
  #recent = [];
  /** The ticket in hand; those that are shown meanwhile wait for nothing and are left out. */
  #isBusy = false;
  #answered = new AbortController();
  /** Whether this browser can check codes without the server. @type {boolean | null} */
  #verifies = null;

  /** @param {Scanner} scanner @param {Holdfast} client @param {boolean} reads @param {AbortSignal} ended */
  constructor(scanner, client, reads, ended) {
    this.#scanner = scanner;
    this.#client = client;
    this.#mayRead = reads;
    this.#ended = ended;
    this.#camera = new Camera((text) => this.#read(text), () => this.#drawCamera());
    ended.addEventListener("abort", () => this.#camera.stop());
  }

  get #list() {
    if (!this.#scanner.list) throw new Error("the list is there before the view");
    return this.#scanner.list;
  }

  async open() {
    const { event, keys } = this.#list;
    this.#sound = (await store.setting("sound")) ?? true;
    this.#verifies = keys.length ? await canVerify(keys[0]) : null;
    this.status = h("div.door-status");
    this.problems = h("div.door-problems", { "aria-live": "polite" });
    this.counts = h("ul.counts");
    this.recent = h("ol.recent", { reversed: true });
    this.viewer = h("div.viewer");
    const heading = titled(event.name);
    main.replaceChildren(h("div.door", null,
      h("div.door-top", null, heading, h("p.small", null, [when(event.starts_at, event.time_zone, "short"), this.#scanner.labels.gate].filter(Boolean).join(" · ")), this.status),
      this.problems,
      h("section.scan", { "aria-label": t("door.scan") }, this.viewer, this.#typing()),
      h("section", null, h("h2", null, t("door.counts")), this.counts),
      h("section", null, h("h2", null, t("door.recent")), this.recent, h("div.actions", null, this.#soundSwitch())),
    ));
    attend(heading);
    this.#scanner.addEventListener("change", () => this.#draw(), { signal: this.#ended });
    this.#draw();
    this.#drawRecent();
    this.#drawCamera();
    stayAwake(this.#ended);
  }

  // --- what is shown

  #draw() {
    const { event, at } = this.#list;
    const { connected, signedOut, refusal, waiting, met, counts } = this.#scanner;
    const time = clock(at, event.time_zone);
    const words = [
      connected ? t("door.online") : t("door.offline", { time }),
      waiting > 0 && t("door.waiting", { count: waiting }),
    ].filter(Boolean).join(" · ");
    if (this.status.textContent && this.status.dataset.connected !== `${connected}`) say(words);
    this.status.dataset.connected = connected;
    this.status.className = `door-status ${connected ? "online" : "offline-now"}`;
    this.status.replaceChildren(h("span.dot", { "aria-hidden": "true" }), words);
    this.counts.replaceChildren(...counts.map(({ name, letIn, sold }) => h("li", null,
      h("div.line", null, h("span", null, name), h("strong", null, t("door.count", { in: letIn, sold }))),
      h("progress", { max: Math.max(sold, 1), value: letIn, "aria-label": name }),
    )));
    const problems = [
      event.called_off_at && ["bad", t("door.no_event")],
      signedOut && ["warning", t("door.signed_out"), t("door.signed_out.text"), button(t("door.sign_in"), () => signIn())],
      refusal && !signedOut && ["warning", ...Object.values(explained(refusal))],
      this.#verifies === null && ["warning", t("door.no_keys"), t("door.no_keys.text")],
      this.#verifies === false && ["warning", t("door.no_verify"), t("door.no_verify.text")],
      met.length && ["bad", t("door.met", { count: met.length }), h("ul", null, met.map((each) => h("li", null, this.#metText(each)))), button(t("door.seen"), () => this.#scanner.seen())],
    ].filter(Boolean);
    const text = problems.map((/** @type {any} */ [kind, title]) => kind + title).join();
    if (this.problems.dataset.shown === text) return; // what has not changed is not read out again
    this.problems.dataset.shown = text;
    this.problems.replaceChildren(...problems.map((/** @type {any} */ [kind, title, ...more]) => notice(kind, title, ...more)));
  }

  /** @param {import("./door-store.js").Met} met */
  #metText({ ticket_type_id, event_id, at, outcome, used_at, gate }) {
    const zone = this.#list.event.time_zone;
    const type = this.#list.ticket_types.find((each) => each.id === ticket_type_id)?.name ?? t("ticket");
    const where = event_id === this.#list.event.id ? "" : ` (${t("door.another_event")})`;
    const what = before({ usedAt: used_at, gate }, zone, "door.met.first") ?? t(`door.met.${outcome === "used" ? "used" : outcome === "cancelled" ? "cancelled" : "other"}`);
    return `${t("door.met.let_in", { type, time: clock(at, zone) })}${where}: ${what}`;
  }

  #drawRecent() {
    const zone = this.#list.event.time_zone;
    const rows = this.#recent.map((each) => h(`li.line.${each.undone ? "undone" : kindOf(each)}`, null,
      h("span", null,
        h("strong", null, each.undone ? t("door.undone") : t(`door.${each.outcome}`)), " ",
        h("span.small", null, [clock(each.at, zone), ticketText(each), each.offline && t("door.by_list")].filter(Boolean).join(" · ")),
      ),
      each.outcome === "in" && !each.undone && button(t("door.undo"), () => this.#undo(each), "quiet"),
    ));
    this.recent.replaceChildren(...(rows.length ? rows : [h("li.small", null, t("door.recent.none"))]));
  }

  #soundSwitch() {
    const box = h("input", { type: "checkbox", checked: this.#sound, onchange: async () => {
      this.#sound = box.checked;
      await store.set("sound", box.checked);
    } });
    return h("label.switch", null, box, t("door.sound"));
  }

  // --- the camera

  /** @param {unknown} [problem] */
  #drawCamera(problem) {
    const name = problem instanceof DOMException && ["NotAllowedError", "NotFoundError"].includes(problem.name) ? problem.name : "other";
    this.viewer.classList.remove("live");
    this.viewer.replaceChildren(
      h("div.viewer-off", null,
        problem ? notice("warning", t("door.camera.failed"), t(`door.camera.${name}`)) : "",
        button(t("door.camera.start"), () => this.#startCamera(), "primary.wide"),
      ),
    );
  }

  async #startCamera() {
    unlock();
    try {
      await this.#camera.start();
    } catch (error) {
      this.#drawCamera(error);
      return;
    }
    if (this.#ended.aborted) return this.#camera.stop();
    const stop = () => {
      this.#camera.stop();
      this.#drawCamera();
    };
    let lit = false;
    const torch = this.#camera.hasTorch && button(t("door.torch"), async (made) => {
      lit = !lit;
      await this.#camera.light(lit);
      made.setAttribute("aria-pressed", `${lit}`);
    });
    this.viewer.classList.add("live");
    this.#camera.video.setAttribute("aria-label", t("door.camera"));
    this.viewer.replaceChildren(this.#camera.video, h("div.aim", { "aria-hidden": "true" }), h("div.viewer-buttons", null, torch, button(t("door.camera.stop"), stop)));
  }

  // --- tickets

  #typing() {
    const hint = t(this.#mayRead ? "door.type.hint.reference" : "door.type.hint");
    const { element, input, show } = field(t("door.type"), { autocomplete: "off", autocapitalize: "characters", spellcheck: "false", enterkeyhint: "go", maxlength: 400 }, hint);
    const result = h("div.said", { "aria-live": "polite" });
    const send = h("button.button.secondary", null, t("door.check"));
    const submit = async () => {
      const text = input.value.trim();
      if (!text) return show(t("door.type.missing"));
      result.replaceChildren();
      const code = read(text);
      input.value = "";
      if (code || text.length > 40 || !this.#mayRead) return this.#read(text);
      try {
        const tickets = await found(this.#client, text, (ticket) => this.#show(ticket).then(() => result.replaceChildren()));
        if (tickets) result.replaceChildren(tickets);
        else show(t("door.lookup.no_booking", { reference: text }));
      } catch (error) {
        const { title, advice } = explained(error);
        show(`${title} ${advice}`);
      }
    };
    this.typing = input;
    return h("form.typing", { novalidate: true, onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); unlock(); busy(send, submit); } }, element, send, result);
  }

  /** @param {string} text */
  async #read(text) {
    const code = read(text);
    if (code) await this.#show({ code, ...code });
    else await this.#met({ outcome: "invalid", offline: false, at: Date.now(), shown: null, ticketType: null });
  }

  /** @param {Shown} ticket */
  async #show(ticket) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.viewer.classList.add("asking");
    /** @type {Answer} */
    let answer;
    try {
      answer = await this.#scanner.show(ticket);
    } catch (error) {
      reportError(error);
      answer = { outcome: "unknown", offline: false, at: Date.now(), shown: ticket, ticketType: null };
    } finally {
      this.#isBusy = false;
      this.viewer.classList.remove("asking");
    }
    await this.#met(answer);
  }

  /** @param {Answer} answer */
  async #met(answer) {
    if (this.#ended.aborted) return;
    this.#recent = [answer, ...this.#recent].slice(0, RECENT);
    this.#drawRecent();
    this.#answered.abort(); // the answer before
    const mine = (this.#answered = new AbortController());
    // A refusal stays until somebody has seen it; whom it let in makes room for the next.
    this.#camera.paused = answer.outcome !== "in";
    const asks = this.#mayRead && this.#scanner.connected && answer.shown && answer.outcome !== "invalid";
    await shown(answer, {
      timeZone: this.#list.event.time_zone,
      listAt: this.#scanner.list?.at ?? null,
      sound: this.#sound,
      passes: this.viewer.classList.contains("live"),
      signal: AbortSignal.any([mine.signal, this.#ended]),
      undo: (each) => this.#undo(each),
      holder: asks ? holderOf(this.#client, answer.shown?.bookingId ?? "") : Promise.resolve(null),
      typing: this.typing,
    });
    if (!mine.signal.aborted) this.#camera.paused = false;
  }

  /** @param {Answer} answer */
  async #undo(answer) {
    await this.#scanner.undo(answer);
    this.#drawRecent();
    say(t("door.undone"));
  }
}

await add("door");
addEventListener("hashchange", start);
await start();
