// What somebody at the door works with: the camera, the ticket in hand, the counts, and what happened last.

import { busy, button, field, h, notice, say } from "./dom.js";
import { before, clock, kindOf, shown, ticketText } from "./door-answer.js";
import { Camera } from "./door-camera.js";
import { canVerify, read } from "./door-code.js";
import { found, holderOf } from "./door-lookup.js";
import { stayAwake, unlock } from "./door-signal.js";
import { explained, titled } from "./page.js";
import { t, when } from "./words.js";

/** @import { Answer, Scanner, Shown } from "./door-scanner.js" */
/** @import { Met, Store } from "./door-store.js" */
/** @import { Holdfast } from "./holdfast.js" */

/** How many of the last answers are listed. */
const RECENT = 20;

export class DoorView {
  #scanner;
  #client;
  #store;
  #mayRead;
  #signIn;
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

  /**
   * @param {Scanner} scanner
   * @param {Holdfast} client
   * @param {Store} store
   * @param {{ mayRead: boolean, signIn: () => void, ended: AbortSignal }} of `mayRead`: the token allows to look
   *   bookings up. `signIn` shows where another token is entered
   */
  constructor(scanner, client, store, { mayRead, signIn, ended }) {
    this.#scanner = scanner;
    this.#client = client;
    this.#store = store;
    this.#mayRead = mayRead;
    this.#signIn = signIn;
    this.#ended = ended;
    this.#camera = new Camera((text) => this.#read(text), () => this.#drawCamera());
    ended.addEventListener("abort", () => this.#camera.stop());
  }

  get #list() {
    if (!this.#scanner.list) throw new Error("the list is there before the view");
    return this.#scanner.list;
  }

  /** The view, drawn for the first time; from now on it follows the scanner. */
  async open() {
    const { event, keys } = this.#list;
    this.#sound = (await this.#store.setting("sound")) ?? true;
    this.#verifies = keys.length ? await canVerify(keys[0]) : null;
    this.status = h("div.door-status");
    this.problems = h("div.door-problems", { "aria-live": "polite" });
    this.counts = h("ul.counts");
    this.recent = h("ol.recent", { reversed: true });
    this.viewer = h("div.viewer");
    const element = h("div.door", null,
      h("div.door-top", null, titled(event.name), h("p.small", null, [when(event.starts_at, event.time_zone, "short"), this.#scanner.labels.gate].filter(Boolean).join(" · ")), this.status),
      this.problems,
      h("section.scan", { "aria-label": t("door.scan") }, this.viewer, this.#typing()),
      h("section", null, h("h2", null, t("door.counts")), this.counts),
      h("section", null, h("h2", null, t("door.recent")), this.recent, h("div.actions", null, this.#soundSwitch())),
    );
    this.#scanner.addEventListener("change", () => this.#draw(), { signal: this.#ended });
    this.#draw();
    this.#drawRecent();
    this.#drawCamera();
    stayAwake(this.#ended);
    return element;
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
      signedOut && ["warning", t("door.signed_out"), t("door.signed_out.text"), button(t("door.sign_in"), () => this.#signIn())],
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

  /** @param {Met} met */
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
      await this.#store.set("sound", box.checked);
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
