// A scanner at the door of one event: lets people in, online or by the list that it keeps, and sends what it has kept.
// The rules are those of docs/tickets.md, "At the door" and "Offline".

import { genuine } from "./door-code.js";
import { HoldfastError } from "./holdfast.js";

/** @import * as Types from "../../clients/js/types.js" */
/** @import { Holdfast } from "./holdfast.js" */
/** @import { Code } from "./door-code.js" */
/** @import { DoorList, Kept, Met, Standing, Store } from "./door-store.js" */

/**
 * What a ticket has met. `outcome`: "in" lets somebody in, all others do not; "unknown" is none of the ticket's fault.
 * `offline`: by the list; `usedAt`, `gate`: where somebody was let in by it before; `id`: what this scanner calls it.
 * @typedef {object} Answer
 * @property {"in" | "used" | "cancelled" | "other_event" | "invalid" | "unknown"} outcome
 * @property {boolean} offline
 * @property {number} at In milliseconds
 * @property {Shown | null} shown
 * @property {string | null} ticketType
 * @property {string} [id]
 * @property {string | null} [usedAt]
 * @property {string | null} [gate]
 * @property {boolean} [undone]
 */

/** A ticket that is shown. @typedef {{ code?: Code, bookingId: string, ticketId: string, ticketTypeId: string, eventId: string }} Shown */

/** For how long people wait for the server before the list decides: at a door they see that they wait from then on. */
const ANSWER_MS = 2500;
/** How soon each request of the background has to be answered. */
const ROUND_MS = 10_000;
/** How often the list is asked for. */
const PAUSE_MS = 4000;
/** How many check-ins the server takes at once. */
const BATCH = 100;

/** @type {Record<string, Answer["outcome"]>} */
const REFUSALS = {
  ticket_used: "used",
  ticket_cancelled: "cancelled",
  ticket_of_another_event: "other_event",
  ticket_invalid: "invalid",
};
const SIGNED_OUT = new Set([401, 403]);
const UNREADABLE = 422;

/** Dispatches `change` whenever something that it shows is another: the list, the connection, what is kept. */
export class Scanner extends EventTarget {
  #client;
  #store;
  #eventId;
  /** @type {Map<string, Standing>} */
  #standings;
  /** By id, in their order. @type {Map<string, Kept>} */
  #kept;
  /** The server's ids of check-ins, by those that this scanner gave them. @type {Map<string, string>} */
  #made = new Map();
  /** Begins the next round of the loop at once. */
  #wake = () => {};

  /**
   * @param {Holdfast} client
   * @param {Store} store
   * @param {string} eventId
   * @param {{ list: DoorList | undefined, standings: Map<string, Standing>, kept: Kept[], met: Met[] }} known
   */
  constructor(client, store, eventId, { list, standings, kept, met }) {
    super();
    this.#client = client;
    this.#store = store;
    this.#eventId = eventId;
    this.#standings = standings;
    this.#kept = new Map(kept.map((each) => [each.id, each]));
    /** Undefined until it came for the first time. */
    this.list = list;
    this.met = met;
    /** Whether the last request was answered. */
    this.connected = false;
    /** The server refuses the token. */
    this.signedOut = false;
    /** @type {HoldfastError | null} */
    this.refusal = null;
    /** @type {{ gate?: string, device?: string }} */
    this.labels = {};
  }

  /** @param {Holdfast} client @param {Store} store @param {string} eventId */
  static async open(client, store, eventId) {
    const [known, kept, met] = await Promise.all([store.list(eventId), store.kept(), store.met()]);
    return new Scanner(client, store, eventId, { ...known, kept, met });
  }

  /** How many check-ins wait to be sent. */
  get waiting() {
    return this.#kept.size;
  }

  /** By ticket type, also with what only this scanner knows. */
  get counts() {
    const here = [...this.#kept.values()].filter((each) => each.event_id === this.#eventId && !each.undone && !this.#isListed(each));
    return (this.list?.ticket_types ?? []).map(({ id, name, sold, checked_in }) => ({
      id, name, sold, letIn: checked_in + here.filter((each) => each.ticket_type_id === id).length,
    }));
  }

  /** @param {Kept} entry */
  #isListed({ ticket_id }) {
    return this.#standings.get(ticket_id)?.state === "used";
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  // --- at the door

  /** @param {Shown} shown @returns {Promise<Answer>} */
  async show(shown) {
    const ticketType = this.list?.ticket_types.find((each) => each.id === shown.ticketTypeId)?.name ?? null;
    /** @param {Partial<Answer> & { outcome: Answer["outcome"] }} more @returns {Answer} */
    const answer = (more) => ({ offline: false, at: Date.now(), shown, ticketType, ...more });
    // The server may not have heard of it yet.
    const before = this.#keptOf(shown.ticketId, { undone: false });
    if (before) return answer({ outcome: "used", usedAt: before.at, gate: before.gate });
    const id = crypto.randomUUID();
    // Undone here, and still used there: the list decides until that is sent.
    const asks = this.connected && navigator.onLine && !this.#keptOf(shown.ticketId, { undone: true });
    const found = asks ? await this.#ask(id, shown) : null;
    return answer(found ?? { offline: true, ...(await this.#judge(id, shown, asks)) });
  }

  /** @param {string} ticketId @param {{ undone: boolean }} as */
  #keptOf(ticketId, { undone }) {
    return [...this.#kept.values()].find((each) => each.ticket_id === ticketId && each.undone === undone);
  }

  /** The server's answer; null where none came. @param {string} id @param {Shown} shown */
  async #ask(id, shown) {
    const body = { id, event_id: this.#eventId, ...named(shown), ...this.labels };
    try {
      const made = await this.#client.admin.checkIn(body, { signal: AbortSignal.timeout(ANSWER_MS) });
      const { at, gate } = made;
      this.#made.set(id, made.id);
      await this.#stand(shown.ticketId, { state: "used", used_at: at, gate });
      this.#count(shown.ticketTypeId, 1);
      return { outcome: /** @type {const} */ ("in"), id };
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.retryable || SIGNED_OUT.has(error.status)) {
        this.#failed(error);
        return null;
      }
      const { used_at, gate } = /** @type {any} */ (error.problem ?? {});
      return { outcome: REFUSALS[error.code] ?? "unknown", usedAt: used_at, gate };
    }
  }

  /**
   * By what is known here; who is let in is kept before.
   * @param {string} id
   * @param {Shown} shown
   * @param {boolean} tried
   * @returns {Promise<Partial<Answer> & { outcome: Answer["outcome"] }>}
   */
  async #judge(id, shown, tried) {
    const { list } = this;
    if (!list || !shown.code) return { outcome: "unknown" };
    try {
      if (!(await genuine(shown.code, list.keys))) return { outcome: "invalid" };
    } catch {
      return { outcome: "unknown" };
    }
    if (shown.eventId !== this.#eventId) return { outcome: "other_event" };
    if (list.event.called_off_at) return { outcome: "cancelled" };
    const standing = this.#standings.get(shown.ticketId);
    const state = standing?.state === "used" && this.#keptOf(shown.ticketId, { undone: true }) ? "valid" : standing?.state;
    if (state === "used") return { outcome: "used", usedAt: standing?.used_at, gate: standing?.gate };
    if (state !== undefined && state !== "valid") return { outcome: "cancelled" };
    await this.#keep(id, shown, { tried, undone: false });
    return { outcome: "in", id };
  }

  /** @param {string} id @param {Shown} shown @param {{ tried: boolean, undone: boolean }} as */
  async #keep(id, shown, as) {
    const order = Math.max(0, ...[...this.#kept.values()].map((each) => each.order)) + 1;
    /** @type {Kept} */
    const entry = {
      id, order, ...as, ...this.labels, at: new Date().toISOString(), code: shown.code?.text, event_id: this.#eventId,
      ticket_id: shown.ticketId, ticket_type_id: shown.ticketTypeId, booking_id: shown.bookingId,
    };
    this.#kept.set(id, entry);
    try {
      await this.#store.keep([entry]);
    } catch (error) {
      this.#kept.delete(id);
      throw error;
    }
    this.#changed();
  }

  /** The ticket lets somebody in again; without a network that is sent later. @param {Answer} answer */
  async undo(answer) {
    const { id, shown } = answer;
    if (!id || !shown) return;
    const kept = this.#kept.get(id);
    const made = this.#made.get(id);
    if (kept) {
      kept.undone = true;
      await this.#store.keep([kept]);
    } else if (!(made && this.connected && (await this.#undone(made)))) {
      await this.#keep(id, shown, { tried: true, undone: true });
    }
    await this.#stand(shown.ticketId, { state: "valid" });
    if (!kept) this.#count(shown.ticketTypeId, -1);
    answer.undone = true;
    this.#changed();
    this.#wake();
  }

  /** Whether the server has undone it. @param {string} id */
  async #undone(id) {
    try {
      await this.#client.admin.undoCheckIn(id, { signal: AbortSignal.timeout(ANSWER_MS) });
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  /** Until the next list says it. @param {string} ticketId @param {Standing} standing */
  #stand(ticketId, standing) {
    this.#standings.set(ticketId, standing);
    // What this browser has no room for is not worth an error: the list brings it, too.
    return this.#store.putStanding(this.#eventId, ticketId, standing).catch(() => {});
  }

  /** Until the next list says it. @param {string} ticketTypeId @param {number} by */
  #count(ticketTypeId, by) {
    const type = this.list?.ticket_types.find((each) => each.id === ticketTypeId);
    if (type) type.checked_in += by;
    this.#changed();
  }

  // --- beside it

  /** Sends what is kept and follows the list, until the signal is aborted. @param {AbortSignal} signal */
  async run(signal) {
    addEventListener("online", () => this.#wake(), { signal });
    addEventListener("offline", () => this.#failed(null), { signal });
    while (!signal.aborted) {
      // A request that waits to be sent again ends, too: what it waited for may be there.
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      const round = AbortSignal.any([signal, woken.signal]);
      try {
        await this.#send(round);
        await this.#follow(round);
        this.connected = true;
        this.signedOut = false;
        this.refusal = null;
      } catch (error) {
        if (signal.aborted) return;
        if (woken.signal.aborted) continue;
        this.#failed(error);
      }
      this.#changed();
      await new Promise((resolve) => {
        if (round.aborted) resolve(undefined);
        round.addEventListener("abort", resolve);
        setTimeout(resolve, PAUSE_MS);
      });
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    this.connected = false;
    this.signedOut = error instanceof HoldfastError && SIGNED_OUT.has(error.status);
    /** What is wrong beside the network, and will not pass by itself. */
    this.refusal = error instanceof HoldfastError && !error.retryable ? error : null;
    this.#changed();
    // Timeouts are DOMExceptions.
    if (!(error === null || error instanceof HoldfastError || error instanceof DOMException)) reportError(error);
  }

  /** @param {AbortSignal} signal */
  async #follow(signal) {
    for (let more = true; more; ) {
      const since = this.list?.mark;
      const door = await this.#client.admin.door(this.#eventId, since ? { since } : {}, { signal: within(signal) });
      const { event, keys, ticket_types, mark, reset, items } = door;
      const changes = new Map(items.map(({ ticket_id, state, used_at, gate }) => [ticket_id, { state, used_at, gate }]));
      const list = { event, keys, ticket_types, mark, at: Date.now() };
      await this.#store.putList(this.#eventId, list, changes, reset);
      if (reset) this.#standings.clear();
      for (const [ticketId, standing] of changes) this.#standings.set(ticketId, standing);
      this.list = list;
      more = door.more;
    }
  }

  /** @param {AbortSignal} signal */
  async #send(signal) {
    // First those that are undone: the same ticket may have let somebody in since.
    for (const entry of [...this.#kept.values()].filter((each) => each.undone)) await this.#sendUndone(entry, signal);
    for (const eventId of new Set([...this.#kept.values()].map((each) => each.event_id))) {
      const ofEvent = [...this.#kept.values()].filter((each) => each.event_id === eventId && !each.undone);
      for (let place = 0; place < ofEvent.length; place += BATCH) await this.#sendBatch(ofEvent.slice(place, place + BATCH), signal);
    }
  }

  /** One that certainly never arrived is simply forgotten. @param {Kept} entry @param {AbortSignal} signal */
  async #sendUndone(entry, signal) {
    if (entry.tried) {
      // Sent again it is answered as before, with the id by which it can be undone.
      const [{ outcome, check_in }] = await this.#sent([entry], signal);
      if (outcome === "ok" && check_in) await this.#client.admin.undoCheckIn(check_in.id, { signal: within(signal) });
    }
    await this.#release(entry, null);
  }

  /** @param {Kept[]} entries Of one event, as many as the server takes @param {AbortSignal} signal */
  async #sendBatch(entries, signal) {
    if (!navigator.onLine) return; // nothing would arrive: what is undone meanwhile is certainly not known there
    for (const entry of entries) entry.tried = true;
    await this.#store.keep(entries);
    for (const { id, outcome, check_in } of await this.#sent(entries, signal)) {
      const entry = this.#kept.get(id);
      if (!entry || entry.undone) continue; // undone meanwhile: the next round undoes it there
      const { event_id, ticket_type_id, at } = entry;
      const met = { id, event_id, ticket_type_id, at, outcome, used_at: check_in?.at ?? null, gate: check_in?.gate ?? null };
      if (outcome === "ok" && check_in) this.#made.set(id, check_in.id);
      if (outcome === "ok") await this.#stand(entry.ticket_id, { state: "used", used_at: at, gate: entry.gate });
      await this.#release(entry, outcome === "ok" ? null : met);
    }
    this.#changed();
  }

  /** @param {Kept[]} entries @param {AbortSignal} signal @returns {Promise<Types.CheckInResult[]>} */
  async #sent(entries, signal) {
    const items = entries.map(({ id, code, booking_id, ticket_id, at, gate, device }) => ({
      id, ...(code ? { code } : { booking_id, ticket_id }), at, gate, device,
    }));
    try {
      const { items: results } = await this.#client.admin.checkIns({ event_id: entries[0].event_id, items }, { signal: within(signal) });
      return [...results];
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.status !== UNREADABLE) throw error;
      // One that the server does not understand must not keep the others here.
      if (entries.length === 1) return [{ id: entries[0].id, outcome: "invalid" }];
      const each = [];
      for (const entry of entries) each.push(...(await this.#sent([entry], signal)));
      return each;
    }
  }

  /** @param {Kept} entry @param {Met | null} met */
  async #release(entry, met) {
    await this.#store.release(entry.id, met);
    this.#kept.delete(entry.id);
    if (met) this.met = [...this.met, met];
    this.#changed();
  }

  /** People have seen what check-ins met. */
  async seen() {
    await this.#store.forgetMet();
    this.met = [];
    this.#changed();
  }
}

/** How a ticket is named to the server. @param {Shown} shown */
const named = ({ code, bookingId, ticketId }) => (code ? { code: code.text } : { booking_id: bookingId, ticket_id: ticketId });

/** @param {AbortSignal} signal */
const within = (signal) => AbortSignal.any([signal, AbortSignal.timeout(ROUND_MS)]);
