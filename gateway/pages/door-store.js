// What a scanner keeps over reloads, in IndexedDB: its token, the list of each event, check-ins that are not sent yet.

/** @import * as Types from "../../clients/js/types.js" */

/**
 * How a ticket stands, by the list.
 * @typedef {{ state: string, used_at?: string | null, gate?: string | null }} Standing
 */

/**
 * What is known of an event. `at`: when the list came, in milliseconds.
 * @typedef {{ event: Types.TicketEvent, keys: readonly Types.SigningKey[], ticket_types: Types.DoorTicketType[],
 *   mark: string, at: number }} DoorList
 */

/**
 * A check-in that the server has not answered. `tried`: it may have arrived; `undone`: it is to be undone there.
 * @typedef {object} Kept
 * @property {string} id
 * @property {number} order
 * @property {string} event_id
 * @property {string} ticket_id
 * @property {string} ticket_type_id
 * @property {string} booking_id
 * @property {string} [code]
 * @property {string} at
 * @property {string} [gate]
 * @property {string} [device]
 * @property {boolean} tried
 * @property {boolean} undone
 */

/**
 * A check-in that was made offline, and did not count when it arrived.
 * @typedef {{ id: string, event_id: string, ticket_type_id: string, at: string, outcome: string,
 *   used_at: string | null, gate: string | null }} Met
 */

const VERSION = 1;

export class Store {
  #database;

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  /** Rejected where the browser lets pages keep nothing. */
  static async open() {
    const opening = indexedDB.open("door", VERSION);
    opening.onupgradeneeded = () => {
      const database = opening.result;
      database.createObjectStore("settings");
      database.createObjectStore("lists");
      database.createObjectStore("standings");
      database.createObjectStore("kept", { keyPath: "id" });
      database.createObjectStore("met", { keyPath: "id" });
    };
    const database = await settled(opening);
    // Without it a browser that is short of space may delete what is not sent yet.
    navigator.storage?.persist?.().catch(() => {});
    return new Store(database);
  }

  /** @param {string} name @returns {Promise<any>} */
  setting(name) {
    return settled(this.#database.transaction("settings").objectStore("settings").get(name));
  }

  /** @param {string} name @param {unknown} value Null: it is forgotten */
  set(name, value) {
    return this.#write(["settings"], ({ settings }) => (value === null ? settings.delete(name) : settings.put(value, name)));
  }

  /** The list of an event, with how its tickets stand. @param {string} eventId @returns {Promise<{ list: DoorList | undefined, standings: Map<string, Standing> }>} */
  async list(eventId) {
    const transaction = this.#database.transaction(["lists", "standings"]);
    const standings = transaction.objectStore("standings");
    const [list, keys, values] = await Promise.all([
      settled(transaction.objectStore("lists").get(eventId)),
      settled(standings.getAllKeys(ofEvent(eventId))),
      settled(standings.getAll(ofEvent(eventId))),
    ]);
    return { list, standings: new Map(keys.map((key, place) => [/** @type {string[]} */ (key)[1], values[place]])) };
  }

  /**
   * Both or nothing: a mark without the changes before it would lose them.
   * @param {string} eventId
   * @param {DoorList} list
   * @param {ReadonlyMap<string, Standing>} changes
   * @param {boolean} reset
   */
  putList(eventId, list, changes, reset) {
    return this.#write(["lists", "standings"], ({ lists, standings }) => {
      if (reset) standings.delete(ofEvent(eventId));
      for (const [ticketId, standing] of changes) standings.put(standing, [eventId, ticketId]);
      lists.put(list, eventId);
    });
  }

  /** @param {string} eventId @param {string} ticketId @param {Standing} standing */
  putStanding(eventId, ticketId, standing) {
    return this.#write(["standings"], ({ standings }) => standings.put(standing, [eventId, ticketId]));
  }

  /** All that is not sent, of all events, in its order. @returns {Promise<Kept[]>} */
  async kept() {
    /** @type {Kept[]} */
    const all = await settled(this.#database.transaction("kept").objectStore("kept").getAll());
    return all.sort((a, b) => a.order - b.order);
  }

  /** @param {readonly Kept[]} entries */
  keep(entries) {
    return this.#write(["kept"], ({ kept }) => entries.forEach((each) => kept.put(each)));
  }

  /** An entry is answered. @param {string} id @param {Met | null} met What is shown to people until they have seen it */
  release(id, met) {
    return this.#write(["kept", "met"], (stores) => {
      stores.kept.delete(id);
      if (met) stores.met.put(met);
    });
  }

  /** @returns {Promise<Met[]>} */
  met() {
    return settled(this.#database.transaction("met").objectStore("met").getAll());
  }

  forgetMet() {
    return this.#write(["met"], ({ met }) => met.clear());
  }

  /**
   * @param {string[]} names
   * @param {(stores: Record<string, IDBObjectStore>) => unknown} write
   * @returns {Promise<void>} Resolved once it is on the disk
   */
  #write(names, write) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(names, "readwrite", { durability: "strict" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
      write(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
    });
  }
}

/** @param {string} eventId */
const ofEvent = (eventId) => IDBKeyRange.bound([eventId], [eventId, []]);

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
