// A client of Holdfast for browsers and Node.js, in one module without dependencies: the REST interface, guests'
// tokens, idempotency keys that outlive a lost answer or a reload, and live changes over the WebSocket.
//
//   const holdfast = new Holdfast({ storage: localStorage });
//   await holdfast.guest();
//   const booking = await holdfast.book({ event_id, items: [{ ticket_type_id, quantity: 2 }] });
//   for await (const now of holdfast.watch(booking)) show(now);
//
// What is sent and answered has the names of the OpenAPI document (`/docs` of the gateway).

/** @import * as Types from "./types.js" */

/**
 * Where something is kept beyond this page: `localStorage`, `sessionStorage`, or an object with the same methods,
 * which may return promises.
 * @typedef {object} StorageLike
 * @property {(name: string) => string | null | Promise<string | null>} getItem
 * @property {(name: string, value: string) => unknown} setItem
 * @property {(name: string) => unknown} removeItem
 */

/**
 * Timers and the time in milliseconds, for tests.
 * @typedef {object} Clock
 * @property {() => number} now
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 */

/**
 * A token, with its end where that is known: it is then renewed when half of its time is over.
 * @typedef {string | { token: string, expires_at?: string }} GivenToken
 */

/**
 * @typedef {object} Options
 * @property {string} [url] Where the gateway is; left out: where this module was loaded from.
 * @property {string | (() => GivenToken | Promise<GivenToken>)} [token] Of a customer who signs in, or of an
 *   operator; a function is called for the first token, and whenever another is needed. Left out: guests.
 * @property {StorageLike} [storage] Keeps the guest's token and the keys of unfinished requests; left out: memory.
 * @property {typeof fetch} [fetch]
 * @property {{ new (url: string): WebSocket }} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]
 * @property {EventTarget} [page] Whose `online`, `pageshow` and `visibilitychange` say that the page is back; left out:
 *   the window.
 */

/**
 * @typedef {object} Call
 * @property {AbortSignal} [signal] Ends the call; the promise is rejected with the signal's reason.
 */

/**
 * `key`: an Idempotency-Key of your own; left out: one is made, and kept until the outcome is known.
 * @typedef {Call & { key?: string }} KeyedCall
 */

/**
 * `ifMatch`: the version that the request is meant for, or an `ETag`.
 * @typedef {KeyedCall & { ifMatch?: number | string }} MatchedCall
 */

/**
 * What a request is made of beside its operation. `path`: the values of the names in braces. `body`: sent as JSON, a
 * Blob as it is. `blob`: the answer is a Blob. `token`: sent in place of the client's own; null: none is sent.
 * @typedef {MatchedCall & {
 *   path?: Record<string, string>, query?: object, body?: object, wait?: number, blob?: boolean,
 *   token?: string | null,
 * }} Sent
 */

/**
 * How often a request is sent before its error is raised. With the pauses between them that takes about 30 seconds.
 */
const ATTEMPTS = 8;
/** The n-th pause is drawn between 0 and FIRST_PAUSE_MS times 2 to the n, or LONGEST_PAUSE_MS. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
/** A longer Retry-After is left to the caller. */
const RETRY_AFTER_MAX_S = 60;
/**
 * How soon an answer, and each further piece of it, has to come: the gateway waits up to 30 seconds for a booking, where
 * it is asked to, and a table is sent while it is read.
 */
const ANSWER_MS = 45_000;
const CONNECT_MS = 15_000;
/** How soon a socket has to answer where it may be dead without having said so. */
const PROBE_MS = 5_000;
/** A socket stays open this long after the last watcher has left. */
const LINGER_MS = 5_000;
/** The pause before the next connection where the subject has too many sockets. */
const FULL_MS = 10_000;
/**
 * How often an open socket looks whether its token is to be renewed; also the pause after a renewal that failed.
 */
const TOKEN_CHECK_MS = 60_000;
/** For how long the key of a request whose outcome is not known is used again: longer than a hold. */
const KEY_MS = 24 * 3_600_000;

const NO_CONTENT = 204;
const UNTYPED = "application/octet-stream";
const RETRYABLE_STATUSES = new Set([429, 502, 503, 504]);
const RETRYABLE_CODES = new Set(["too_many_requests", "unavailable", "timeout"]);
/** Statuses that say nothing of an earlier attempt whose answer was lost. */
const UNDECIDED_STATUSES = new Set([401, 408, 429]);

/** Close codes of docs/websocket.md by which the client has to be corrected. Others: connect again. */
const WRONG_CLIENT = new Set([1002, 1003, 1007, 1008, 1009]);
const NORMAL = 1000;
const LOST = 1006;
const UNAUTHORIZED = 4401;
const TOO_MANY_SOCKETS = 4429;

/** Every error of Holdfast's. An aborted call is rejected with the reason of its signal instead. */
export class HoldfastError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ status?: number, problem?: Types.Problem | null, retryAfter?: number | null, retryable?: boolean,
   *   cause?: unknown }} [more]
   */
  constructor(code, message, { status = 0, problem = null, retryAfter = null, retryable = false, cause } = {}) {
    super(message, { cause });
    this.name = "HoldfastError";
    /**
     * The problem's stable code, as `sold_out`. This client's own: `unreachable` (no answer came), `queued` (it is
     * still not known whether there are seats), `http_502` and the like (an answer that is no problem document),
     * `closed` (`close()` was called), `refused` (the gateway has closed the socket because of what was sent).
     */
    this.code = code;
    /** The HTTP status; 0 where there was no answer. */
    this.status = status;
    /** The whole problem document, if there was one. */
    this.problem = problem;
    /** In seconds, where the gateway said so. */
    this.retryAfter = retryAfter;
    /** Whether the same can succeed later. */
    this.retryable = retryable;
  }

  /** Whether the request certainly has no other outcome than this error, so that its key is not needed again. */
  get final() {
    return this.status >= 400 && this.status < 500 && !UNDECIDED_STATUSES.has(this.status);
  }
}

/**
 * Whether it is not decided yet what the customer can do: the booking waits for its intent.
 * @param {Types.Booking} booking
 */
export const isWaiting = (booking) => booking.status === "pending" && booking.payment.status === "creating";

/** Whether its owner can pay the booking now. @param {Types.Booking} booking */
export const isPayable = (booking) => booking.status === "pending" && Boolean(booking.payment.client_secret);

/** Whether the booking is confirmed, cancelled or failed. @param {Types.Booking} booking */
export const isDecided = (booking) => booking.status !== "pending";

/** What the client uses of the platform, and what tests replace. */
class Platform {
  /** @param {Options} options */
  constructor({ fetch, WebSocket, clock, random, page }) {
    this.fetch = fetch ?? globalThis.fetch.bind(globalThis);
    this.WebSocket = WebSocket ?? globalThis.WebSocket;
    /** @type {Clock} */
    this.clock = clock ?? {
      now: () => Date.now(),
      setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
      clearTimeout: (timer) => globalThis.clearTimeout(timer),
    };
    this.random = random ?? Math.random;
    const { window } = globalThis;
    /** @type {EventTarget | undefined} */
    this.page = page ?? window;
  }

  /**
   * The pause before try number `tries` (from 0): full jitter, and at least `atLeastMs`.
   * https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
   * @param {number} tries
   */
  pauseMs(tries, atLeastMs = 0) {
    return atLeastMs + this.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries);
  }

  /** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
  sleep(ms, signal) {
    return abortable((wake) => {
      const timer = this.clock.setTimeout(wake, ms);
      return () => this.clock.clearTimeout(timer);
    }, signal);
  }
}

/**
 * A promise that `begin` resolves, or that is rejected when the signal is aborted; what `begin` returns is called
 * at its end.
 * @param {(wake: () => void) => () => void} begin
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
function abortable(begin, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      end();
      reject(signal?.reason);
    };
    const wake = () => {
      signal?.removeEventListener("abort", abort);
      end();
      resolve();
    };
    const end = begin(wake);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** @template T @param {Promise<T>} promise @param {AbortSignal} [signal] @returns {Promise<T>} */
async function orAborted(promise, signal) {
  if (!signal) return promise;
  promise.catch(() => {}); // it may fail after the signal was aborted
  await abortable((wake) => {
    promise.then(wake, wake);
    return () => {};
  }, signal);
  return promise;
}

// --- requests ---------------------------------------------------------------------------------------------

/** Sends requests: one attempt, or several. */
class Rest {
  #url;
  #platform;

  /** @param {string} url @param {Platform} platform */
  constructor(url, platform) {
    this.#url = url;
    this.#platform = platform;
  }

  /**
   * What `attempt` returns. It is called again after errors that can pass.
   * @template T
   * @param {() => Promise<T>} attempt
   * @param {AbortSignal} [signal]
   * @returns {Promise<T>}
   */
  async repeat(attempt, signal) {
    for (let failed = 0; ; failed++) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof HoldfastError) || !error.retryable || failed + 1 >= ATTEMPTS) throw error;
        const retryAfter = error.retryAfter ?? 0;
        if (retryAfter > RETRY_AFTER_MAX_S) throw error;
        await this.#platform.sleep(this.#platform.pauseMs(failed, retryAfter * 1000), signal);
      }
    }
  }

  /** One attempt. @param {string} operation @param {Sent} sent @returns {Promise<any>} */
  async once(operation, sent) {
    const [method, template] = operation.split(" ");
    const path = template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(sent.path?.[name] ?? ""));
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(sent.query ?? {})) {
      if (value === undefined || value === null) continue;
      query.set(name, value instanceof Date ? value.toISOString() : `${value}`);
    }
    const url = `${this.#url}${path}${`${query}` && `?${query}`}`;
    const { response, content } = await this.#answer(url, method, sent);
    if (response.ok && sent.blob) return content;
    const isJson = /[/+]json\b/.test(response.headers.get("Content-Type") ?? "");
    const answer = response.status === NO_CONTENT ? null : isJson ? parsed(await content.text()) : undefined;
    if (!response.ok || answer === undefined) throw this.#error(response, answer);
    if (answer?.kind === "queued") {
      const options = { status: response.status, retryable: true };
      throw new HoldfastError("queued", "It is not known yet whether there are seats", options);
    }
    return answer;
  }

  /** @param {string} url @param {string} method @param {Sent} sent */
  async #answer(url, method, sent) {
    const { signal, body } = sent;
    signal?.throwIfAborted();
    const { clock, fetch } = this.#platform;
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    const timer = new Timer(clock);
    timer.start(abort, ANSWER_MS);
    signal?.addEventListener("abort", abort);
    try {
      const content = body instanceof Blob ? body : body && JSON.stringify(body);
      const init = { method, headers: headers(sent), body: content, signal: attempt.signal };
      const response = await fetch(url, init);
      const pieces = [];
      const reader = response.body?.getReader();
      for (let piece; reader && !(piece = await reader.read()).done; ) {
        pieces.push(piece.value);
        timer.start(abort, ANSWER_MS);
      }
      const type = response.headers.get("Content-Type") ?? "";
      return { response, content: new Blob(pieces, { type }) };
    } catch (cause) {
      signal?.throwIfAborted();
      throw new HoldfastError("unreachable", "No answer came", { retryable: true, cause });
    } finally {
      timer.stop();
      signal?.removeEventListener("abort", abort);
    }
  }

  /** @param {Response} response @param {any} answer */
  #error(response, answer) {
    const { status } = response;
    const problem = typeof answer?.code === "string" ? answer : null;
    const sentRetry = response.headers.get("Retry-After");
    // Either form of RFC 9110, section 10.2.3.
    const seconds = Number(sentRetry ?? NaN);
    const until = (Date.parse(sentRetry ?? "") - this.#platform.clock.now()) / 1000;
    const retryAfter = [seconds, until].find(Number.isFinite) ?? null;
    const retryable = RETRYABLE_STATUSES.has(status);
    const message = problem?.detail ?? `The answer was ${status}, and no JSON`;
    return new HoldfastError(problem?.code ?? `http_${status}`, message, {
      status,
      problem,
      retryAfter: retryAfter && Math.max(0, retryAfter),
      retryable,
    });
  }
}

/** @param {Sent} sent */
function headers({ token, body, key, wait, ifMatch }) {
  /** @type {Record<string, string>} */
  const found = {};
  if (token) found["Authorization"] = `Bearer ${token}`;
  if (body) found["Content-Type"] = body instanceof Blob ? body.type || UNTYPED : "application/json";
  if (key) found["Idempotency-Key"] = key;
  if (wait !== undefined) found["Prefer"] = wait > 0 ? `wait=${Math.round(wait)}` : "respond-async";
  if (ifMatch !== undefined) found["If-Match"] = typeof ifMatch === "number" ? `"${ifMatch}"` : ifMatch;
  return found;
}

/** @param {string | null} text @returns {any} undefined for what is no JSON */
function parsed(text) {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}

/**
 * A list: `await` gives its first page, `for await` all of its items.
 * @template T
 * @implements {PromiseLike<Types.Page<T>>}
 * @implements {AsyncIterable<T>}
 */
export class Listing {
  #read;

  /** @param {(cursor?: string) => Promise<Types.Page<T>>} read */
  constructor(read) {
    this.#read = read;
  }

  /**
   * @template [A=Types.Page<T>]
   * @template [B=never]
   * @param {((page: Types.Page<T>) => A | PromiseLike<A>) | null} [done]
   * @param {((error: any) => B | PromiseLike<B>) | null} [failed]
   */
  then(done, failed) {
    return this.#read().then(done, failed);
  }

  /** @returns {AsyncGenerator<T, void, undefined>} */
  async *[Symbol.asyncIterator]() {
    for (let cursor; ; ) {
      const page = await this.#read(cursor);
      yield* page.items;
      cursor = page.next_cursor ?? undefined;
      if (!cursor) return;
    }
  }
}

// --- what is kept -----------------------------------------------------------------------------------------

/** @implements {StorageLike} */
class Memory {
  /** @type {Map<string, string>} */
  #kept = new Map();

  /** @param {string} name */
  getItem(name) {
    return this.#kept.get(name) ?? null;
  }

  /** @param {string} name @param {string} value */
  setItem(name, value) {
    this.#kept.set(name, value);
  }

  /** @param {string} name */
  removeItem(name) {
    this.#kept.delete(name);
  }
}

/**
 * Idempotency keys of requests whose outcome is not known. Until it is, a request with the same content has the same
 * key: after a lost answer, a second click or a reload it is the same booking.
 */
class Keys {
  #storage;
  #clock;
  #prefix;
  /**
   * The keys of this page's requests, so that two at the same time have one.
   * @type {Map<string, Promise<string>>}
   */
  #taken = new Map();

  /** @param {StorageLike} storage @param {Clock} clock @param {string} prefix */
  constructor(storage, clock, prefix) {
    this.#storage = storage;
    this.#clock = clock;
    this.#prefix = prefix;
  }

  /** The key of a request with this content, and what forgets it. @param {string} content */
  async take(content) {
    const name = `${this.#prefix}${hashed(new TextEncoder().encode(content))}`;
    const taken = this.#taken.get(name) ?? this.#load(name);
    this.#taken.set(name, taken);
    const key = await taken;
    const forget = async () => {
      this.#taken.delete(name);
      if (parsed(await this.#storage.getItem(name))?.key === key) await this.#storage.removeItem(name);
    };
    return { key, forget };
  }

  /** @param {string} name @returns {Promise<string>} */
  async #load(name) {
    const now = this.#clock.now();
    const kept = parsed(await this.#storage.getItem(name));
    if (typeof kept?.key === "string" && now - kept.made_at < KEY_MS) return kept.key;
    const key = newKey();
    await this.#storage.setItem(name, JSON.stringify({ key, made_at: now }));
    return key;
  }
}

/** 128 random bits; `crypto.randomUUID` is missing on pages without TLS. */
function newKey() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A random UUID (RFC 9562, version 4). */
function newId() {
  const digits = newKey();
  const parts = [digits.slice(0, 8), digits.slice(8, 12), `4${digits.slice(13, 16)}`, `8${digits.slice(17, 20)}`];
  return [...parts, digits.slice(20)].join("-");
}

/**
 * A short name for a content, so that no personal data stands in a name. It tells apart the few requests that one
 * browser has unfinished; two with one name would share a key, and the gateway would refuse the second.
 * 64 bits of FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
 * @param {Uint8Array} content
 */
function hashed(content) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of content) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16);
}

/**
 * The token in use.
 * @typedef {{ token: string, subject?: string, expires_at?: string, received_at: number }} Held
 */

/** The token that requests and the socket are sent with, renewed when half of its time is over. */
class Tokens {
  #rest;
  #storage;
  #clock;
  #name;
  #source;
  /** @type {Held | null | undefined} undefined until the storage was read */
  #held;
  /** @type {Promise<Held> | null} */
  #refreshing = null;
  #triedAt = -Infinity;
  /** Called with each new token. @type {(token: string) => void} */
  onChange = () => {};

  /**
   * @param {Rest} rest
   * @param {StorageLike} storage
   * @param {Clock} clock
   * @param {string} name
   * @param {Options["token"]} source
   */
  constructor(rest, storage, clock, name, source) {
    this.#rest = rest;
    this.#storage = storage;
    this.#clock = clock;
    this.#name = name;
    this.#source = source ?? undefined;
  }

  /** The guest's subject; undefined where there is none. `anew`: as it is in the storage now. */
  async subject({ anew = false } = {}) {
    if (anew) this.#held = undefined;
    return (await this.#load())?.subject;
  }

  /**
   * The token for a request; null: there is none.
   * @param {AbortSignal} [signal]
   * @returns {Promise<string | null>}
   */
  async get(signal) {
    const held = await this.#load();
    if (!held) return this.#source === undefined ? null : (await orAborted(this.#refresh(), signal)).token;
    if (this.#isDue(held)) this.#refresh().catch(() => {}); // until its end it is good, whatever comes of it
    return held.token;
  }

  /**
   * Another token than one that was refused; null: there is none.
   * @param {string} refused
   * @param {AbortSignal} [signal]
   * @returns {Promise<string | null>}
   */
  async other(refused, signal) {
    if (this.#source === undefined) this.#held = undefined; // another tab may have renewed it
    const held = await this.#load();
    if (held && held.token !== refused) return held.token;
    if (!held || typeof this.#source === "string") return null;
    try {
      const { token } = await orAborted(this.#refresh(), signal);
      return token === refused ? null : token;
    } catch (error) {
      if (error instanceof HoldfastError && error.final) return null;
      if (error instanceof HoldfastError && error.status === 401) return null;
      throw error;
    }
  }

  /** From now on the client is this guest. @param {Types.GuestToken} guest */
  async keep(guest) {
    const held = { ...guest, received_at: this.#clock.now() };
    await this.#storage.setItem(this.#name, JSON.stringify(held));
    this.#hold(held);
  }

  async forget() {
    await this.#storage.removeItem(this.#name);
    this.#held = null;
  }

  async #load() {
    if (this.#held === undefined && this.#source === undefined) {
      const kept = parsed(await this.#storage.getItem(this.#name));
      this.#held = typeof kept?.token === "string" ? kept : null;
    }
    return this.#held ?? null;
  }

  /** @param {Held} held */
  #hold(held) {
    this.#held = held;
    this.onChange(held.token);
  }

  /** The token, where by this clock its time is over. */
  async over() {
    const held = await this.#load();
    return held && Date.parse(held.expires_at ?? "") <= this.#clock.now() ? held.token : null;
  }

  /** Whether half of its time is over, and no renewal has failed just now. @param {Held} held */
  #isDue({ expires_at, received_at }) {
    const now = this.#clock.now();
    const end = Date.parse(expires_at ?? "");
    return now - received_at >= (end - received_at) / 2 && now - this.#triedAt >= TOKEN_CHECK_MS;
  }

  /** Gets another token; all who want one at the same time share it. */
  #refresh() {
    this.#triedAt = this.#clock.now();
    this.#refreshing ??= this.#ask().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #ask() {
    if (this.#source === undefined) {
      const guest = await this.#rest.once("POST /auth/guest/renew", { token: this.#held?.token ?? null });
      // Meanwhile the guest may have been forgotten, or another one may have come back; also in another tab.
      if ((await this.subject({ anew: true })) === guest.subject) await this.keep(guest);
      if (!this.#held) throw unauthorized();
    } else {
      const given = typeof this.#source === "function" ? await this.#source() : this.#source;
      const { token, expires_at } = typeof given === "string" ? { token: given, expires_at: undefined } : given;
      this.#hold({ token, expires_at, received_at: this.#clock.now() });
    }
    return /** @type {Held} */ (this.#held);
  }
}

// --- the WebSocket ----------------------------------------------------------------------------------------

/** What can be watched, by the member of messages that has it. @typedef {"booking" | "event" | "waiting_entry"} Kind */
/** @type {readonly Kind[]} */
const KINDS = ["booking", "event", "waiting_entry"];

/** What is watched, with the newest state that is known of it. */
class Topic {
  /** @type {any} */
  value;
  /** Grows with each change of `value`, so that a watcher sees that there is something new. */
  changes = 0;
  /** Whether this connection has sent a snapshot. */
  answered = false;
  watchers = 0;
  /** How watching ends. @type {HoldfastError | "closed" | null} */
  end = null;
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /** @param {Kind} kind @param {string} id */
  constructor(kind, id) {
    this.kind = kind;
    this.id = id;
  }

  /**
   * The first snapshot of a connection replaces what is known, also with a lower version: a database may have come
   * back older than it was. Otherwise what is no newer is dropped; but two states of an event may have one version.
   * @param {any} value
   * @param {boolean} snapshot
   */
  receive(value, snapshot) {
    const replaces = this.value === undefined || (snapshot && !this.answered);
    this.answered ||= snapshot;
    const newest = this.value?.version + (this.kind === "event" ? 0 : 1);
    if (replaces || value.version >= newest) this.change(value);
  }

  /** @param {any} value */
  change(value) {
    this.value = value;
    this.changes++;
    this.wake();
  }

  wake() {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves with the next change or the end. @param {AbortSignal} [signal] */
  changed(signal) {
    return abortable((wake) => {
      this.#waiting.add(wake);
      return () => this.#waiting.delete(wake);
    }, signal);
  }
}

/** The one socket of a client: open while something is watched, and opened again whenever it ends. */
class Live {
  #url;
  #platform;
  #tokens;
  #report;
  /** @type {Map<string, Topic>} */
  #topics = new Map();
  /** Ends the connection and all further tries. @type {AbortController | null} */
  #running = null;
  /** @type {WebSocket | null} only while it is open */
  #socket = null;
  /** The token that the open socket was sent last. @type {string | null} */
  #sentToken = null;
  #linger;
  #again;
  /** Called when the page is back, from another one or to the network. @type {() => void} */
  #wake = () => {};

  /**
   * @param {string} url
   * @param {Platform} platform
   * @param {Tokens} tokens
   * @param {(state: ConnectionState) => void} report
   */
  constructor(url, platform, tokens, report) {
    this.#url = `${url.replace(/^http/, "ws")}/ws`;
    this.#platform = platform;
    this.#tokens = tokens;
    this.#report = report;
    this.#linger = new Timer(platform.clock);
    this.#again = new Timer(platform.clock);
    tokens.onChange = (token) => {
      if (this.#socket && token !== this.#sentToken) this.#authenticate(token);
    };
  }

  /**
   * Each state that comes, the newest where several come at once.
   * @param {Kind} kind
   * @param {string} id
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<any, void, undefined>}
   */
  async *watch(kind, id, signal) {
    signal?.throwIfAborted();
    const topic = this.#join(kind, id);
    try {
      for (let seen = 0; ; ) {
        if (topic.changes === seen && !topic.end) await topic.changed(signal);
        if (topic.end === "closed") return;
        if (topic.end) throw topic.end;
        seen = topic.changes;
        yield topic.value;
      }
    } finally {
      this.#leave(topic);
    }
  }

  /** @param {HoldfastError | "closed"} [end] */
  close(end = "closed") {
    this.#running?.abort();
    this.#running = null;
    this.#linger.stop();
    for (const topic of [...this.#topics.values()]) this.#end(topic, end);
  }

  // --- its topics

  /** @param {Kind} kind @param {string} id */
  #join(kind, id) {
    const name = `${kind} ${id}`;
    const topic = this.#topics.get(name) ?? new Topic(kind, id);
    topic.watchers++;
    this.#linger.stop();
    if (!this.#topics.has(name)) {
      this.#topics.set(name, topic);
      this.#send("subscribe", topic);
    }
    if (!this.#running) {
      this.#running = new AbortController();
      const { signal } = this.#running;
      this.#run(signal).catch((error) => {
        if (!signal.aborted) this.close(error);
      });
    }
    return topic;
  }

  /** @param {Topic} topic */
  #leave(topic) {
    if (--topic.watchers > 0 || topic.end) return;
    this.#topics.delete(`${topic.kind} ${topic.id}`);
    this.#send("unsubscribe", topic);
    if (this.#topics.size === 0) this.#linger.start(() => this.close(), LINGER_MS);
  }

  /** @param {Topic} topic @param {HoldfastError | "closed"} end */
  #end(topic, end) {
    this.#topics.delete(`${topic.kind} ${topic.id}`);
    topic.end = end;
    topic.wake();
    if (this.#topics.size === 0 && this.#running) this.#linger.start(() => this.close(), LINGER_MS);
  }

  // --- its connections

  /** Connects again and again, until the signal is aborted. @param {AbortSignal} signal */
  async #run(signal) {
    for (const type of ["online", "pageshow", "visibilitychange"]) {
      const wake = () => globalThis.document?.hidden || this.#wake();
      this.#platform.page?.addEventListener(type, wake, { signal });
    }
    let tries = 0;
    let refused = false;
    let token = await this.#token(signal);
    while (!signal.aborted) {
      const { code, received } = await this.#connection(token, signal);
      if (signal.aborted) return;
      if (received) {
        tries = 0;
        refused = false;
      }
      if (WRONG_CLIENT.has(code)) throw new HoldfastError("refused", `The gateway closed the socket with ${code}`);
      let pauseMs = this.#platform.pauseMs(tries++, code === TOO_MANY_SOCKETS ? FULL_MS : 0);
      if (code === UNAUTHORIZED) {
        if (refused) throw unauthorized();
        token = await this.#token(signal, token);
        refused = true;
        pauseMs = 0;
      }
      this.#report({ open: false, code, retryInMs: pauseMs });
      await this.#pause(pauseMs, signal, code !== TOO_MANY_SOCKETS);
      if (!refused && !signal.aborted) token = await this.#token(signal);
    }
  }

  /**
   * Where it `canWake`, a page that is back ends the pause.
   * @param {number} ms
   * @param {AbortSignal} signal
   * @param {boolean} canWake
   */
  #pause(ms, signal, canWake) {
    const { clock } = this.#platform;
    return abortable((wake) => {
      const timer = clock.setTimeout(wake, ms);
      if (canWake) this.#wake = wake;
      return () => {
        clock.clearTimeout(timer);
        this.#wake = () => {};
      };
    }, signal).catch(() => {});
  }

  /**
   * The token for the next connection, another one than `refused`; asked for again while nobody answers.
   * @param {AbortSignal} signal
   * @param {string} [refused]
   * @returns {Promise<string>}
   */
  async #token(signal, refused) {
    for (let tries = 0; ; tries++) {
      try {
        const tokens = this.#tokens;
        const token = await (refused === undefined ? tokens.get(signal) : tokens.other(refused, signal));
        if (token === null) throw unauthorized();
        return token;
      } catch (error) {
        if (signal.aborted) return "";
        if (!(error instanceof HoldfastError) || !error.retryable) throw error;
        await this.#platform.sleep(this.#platform.pauseMs(tries), signal).catch(() => {});
      }
    }
  }

  /**
   * One connection, from its start to its end: with which code it was closed, and whether anything came.
   * @param {string} token
   * @param {AbortSignal} signal
   * @returns {Promise<{ code: number, received: boolean }>}
   */
  #connection(token, signal) {
    const { clock, WebSocket } = this.#platform;
    return new Promise((resolve) => {
      let received = false;
      let isProbed = false;
      const socket = new WebSocket(this.#url);
      const timer = new Timer(clock);
      /** @param {number} code */
      const end = (code) => {
        for (const each of [timer, this.#again]) each.stop();
        signal.removeEventListener("abort", leave);
        socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
        this.#socket = null;
        this.#wake = () => {};
        socket.close();
        resolve({ code, received });
      };
      const leave = () => end(NORMAL);
      const check = () => {
        this.#tokens.get(signal).catch(() => {});
        timer.start(check, TOKEN_CHECK_MS);
      };
      socket.onopen = () => {
        this.#socket = socket;
        this.#authenticate(token);
        this.#subscribe();
        check();
        this.#wake = () => {
          if (isProbed || this.#topics.size === 0) return;
          isProbed = true;
          this.#subscribe();
          timer.start(() => end(LOST), PROBE_MS);
        };
      };
      socket.onmessage = ({ data }) => {
        if (!received) this.#report({ open: true });
        received = true;
        if (isProbed) check();
        isProbed = false;
        this.#receive(parsed(data));
      };
      socket.onclose = ({ code }) => end(code);
      socket.onerror = () => end(LOST); // of Node.js 20 no close follows where there was no connection
      timer.start(() => end(LOST), CONNECT_MS);
      signal.addEventListener("abort", leave);
      if (signal.aborted) leave();
    });
  }

  /** @param {string} token */
  #authenticate(token) {
    this.#sentToken = token;
    this.#socket?.send(JSON.stringify({ type: "auth", token }));
  }

  /** Asks for the present state of all topics. */
  #subscribe() {
    for (const topic of this.#topics.values()) {
      topic.answered = false;
      this.#send("subscribe", topic);
    }
  }

  /** @param {"subscribe" | "unsubscribe"} type @param {Topic} topic */
  #send(type, { kind, id }) {
    this.#socket?.send(JSON.stringify({ type, [`${kind}_id`]: id }));
  }

  // --- what it receives; members and types that are not known are ignored

  /** @param {any} message */
  #receive(message) {
    switch (message?.type) {
      case "snapshot":
      case "booking":
      case "event":
      case "waiting_entry": {
        const kind = KINDS.find((each) => message[each]);
        if (!kind) break;
        this.#topics.get(`${kind} ${message[kind].id}`)?.receive(message[kind], message.type === "snapshot");
        break;
      }
      case "queue": {
        const topic = this.#topics.get(`booking ${message.booking_id}`);
        if (!topic?.value) break;
        const payment = { ...topic.value.payment, queue_position: message.queue_position };
        topic.change({ ...topic.value, payment });
        break;
      }
      case "error":
        this.#refuse(message);
    }
  }

  /** A message of ours was refused. One over the rate limit is not named. @param {any} problem */
  #refuse(problem) {
    const { code, detail, retry_after: retryAfter = null } = problem;
    const retryable = RETRYABLE_CODES.has(code);
    const kind = KINDS.find((each) => problem[`${each}_id`]);
    const topic = kind && this.#topics.get(`${kind} ${problem[`${kind}_id`]}`);
    if (retryable) {
      this.#again.start(() => this.#askAgain(), this.#platform.pauseMs(0, (retryAfter ?? 1) * 1000));
    } else if (topic) {
      this.#end(topic, new HoldfastError(code, detail, { problem, retryAfter }));
    }
  }

  /** Sends again what was not answered. A token may have been among it, and is sent twice without harm. */
  #askAgain() {
    if (this.#sentToken !== null) this.#authenticate(this.#sentToken);
    for (const topic of this.#topics.values()) if (!topic.answered) this.#send("subscribe", topic);
  }
}

const unauthorized = () => new HoldfastError("unauthorized", "There is no valid token", { status: 401 });

/** One timer: starting it again stops it first. */
class Timer {
  #clock;
  /** @type {any} */
  #timer = null;

  /** @param {Clock} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  /** @param {() => void} run @param {number} ms */
  start(run, ms) {
    this.stop();
    this.#timer = this.#clock.setTimeout(run, ms);
  }

  stop() {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/**
 * Whether live changes come now; where they do not: the close code, and the milliseconds until the next try.
 * @typedef {{ open: true } | { open: false, code: number, retryInMs: number }} ConnectionState
 */

// --- the client -------------------------------------------------------------------------------------------

/**
 * A client of one gateway, for one customer or operator.
 *
 * Event `connection`: a CustomEvent whose `detail` is a ConnectionState.
 */
export class Holdfast extends EventTarget {
  #rest;
  #tokens;
  #keys;
  #live;
  /** @type {Promise<string> | null} */
  #becoming = null;

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    const url = (options.url ?? new URL(".", import.meta.url).href).replace(/\/+$/, "");
    if (!/^https?:/.test(url)) throw new TypeError(`The gateway's url is needed, and this is ${url}`);
    const platform = new Platform(options);
    const storage = options.storage ?? new Memory();
    this.#rest = new Rest(url, platform);
    this.#tokens = new Tokens(this.#rest, storage, platform.clock, `holdfast ${url} guest`, options.token);
    this.#keys = new Keys(storage, platform.clock, `holdfast ${url} key `);
    this.#live = new Live(url, platform, this.#tokens, (detail) =>
      this.dispatchEvent(new CustomEvent("connection", { detail })),
    );
    /** What operators do. */
    this.admin = new Admin(this);
  }

  // --- tokens

  /**
   * Goes on as the guest whose token is kept, or becomes a new one; returns the guest's subject. With
   * `create: false` null where there is no guest yet. `unauthorized` where the token that is kept has ended: then
   * `recover` or `openLink` leads back to the bookings, and `forgetGuest` makes room for another guest.
   * @param {Call & { proof?: string, create?: boolean }} [call]
   * @returns {Promise<string | null>}
   */
  async guest({ proof, create = true, signal } = {}) {
    const known = await this.#tokens.subject();
    const over = await this.#tokens.over();
    if (over !== null) {
      const other = await this.#rest.repeat(() => this.#tokens.other(over, signal), signal);
      if (other === null) throw unauthorized();
    }
    if (known !== undefined || !create) return known ?? null;
    this.#becoming ??= this.#become(proof).finally(() => {
      this.#becoming = null;
    });
    return orAborted(this.#becoming, signal);
  }

  /** @param {string} [proof] @returns {Promise<string>} */
  async #become(proof) {
    const guest = await this.request("POST /auth/guest", { token: null, body: proof ? { proof } : undefined });
    // Another tab may have become a guest meanwhile: then both are that one.
    const known = await this.#tokens.subject({ anew: true });
    if (known !== undefined) return known;
    await this.#tokens.keep(guest);
    return guest.subject;
  }

  /** The token in use, renewed where needed; null: there is none. @returns {Promise<string | null>} */
  token() {
    return this.#tokens.get();
  }

  /** Forgets the guest: without a recovery code or a link there is no way back to the bookings. */
  async forgetGuest() {
    this.#live.close();
    await this.#tokens.forget();
  }

  /**
   * A code by which the guest comes back on another device; the one before is not good any more.
   * @param {Call} [call]
   */
  recoveryCode(call) {
    return this.request("POST /auth/guest/recovery-code", { ...call });
  }

  /**
   * Comes back as the guest whose code it is; returns the subject.
   * @param {string} code
   * @param {KeyedCall} [call]
   */
  async recover(code, call) {
    return this.#goOnAs(await this.keyed("POST /auth/guest/recover", { body: { code }, token: null, ...call }));
  }

  /**
   * Comes back as the guest of a booking, by the link in a mail about it (`/b/{reference}#link={token}`); returns the
   * subject.
   * @param {Types.LinkedGuest} link
   * @param {Call} [call]
   */
  async openLink(link, call) {
    return this.#goOnAs(await this.request("POST /auth/guest/link", { body: link, token: null, ...call }));
  }

  /** @param {Types.GuestToken} guest */
  async #goOnAs(guest) {
    this.#live.close();
    await this.#tokens.keep(guest);
    return guest.subject;
  }

  // --- events

  /** @param {Types.ListEventsQuery} [query] @param {Call} [call] */
  events(query, call) {
    return this.list("GET /events", { query, token: null, ...call });
  }

  /**
   * With a promo code in `query` also what that unlocks.
   * @param {string} id
   * @param {Types.GetEventQuery & Call} [call]
   */
  event(id, { code, ...call } = {}) {
    const query = code === undefined ? undefined : { code };
    return this.request("GET /events/{id}", { path: { id }, query, token: null, ...call });
  }

  /**
   * The image of an event, a WebP. A page shows it by the `url` in the event's `image`.
   * @param {string} id
   * @param {Types.GetEventImageQuery} [query]
   * @param {Call} [call]
   */
  eventImage(id, query, call) {
    return this.request("GET /events/{id}/image", { path: { id }, query, blob: true, token: null, ...call });
  }

  // --- bookings

  /**
   * What seats would cost, with a promo code or without. Nothing is held.
   * @param {Types.NewQuote} seats
   * @param {Call} [call]
   */
  quote(seats, call) {
    return this.request("POST /quotes", { body: seats, ...call });
  }

  /**
   * Books seats; resolves once there is a booking. It can be paid, or waits for that (`isWaiting`).
   * @param {Types.NewBooking} booking
   * @param {KeyedCall & { wait?: number }} [call] `wait`: how many seconds the gateway waits until the
   *   booking can be paid
   */
  book(booking, call) {
    return this.keyed("POST /bookings", { body: booking, ...call });
  }

  /** @param {Types.ListBookingsQuery} [query] @param {Call} [call] */
  bookings(query, call) {
    return this.list("GET /bookings", { query, ...call });
  }

  /** @param {string} id @param {Call} [call] */
  booking(id, call) {
    return this.request("GET /bookings/{id}", { path: { id }, ...call });
  }

  /** @param {string} id @param {Call} [call] */
  history(id, call) {
    return this.list("GET /bookings/{id}/history", { path: { id }, ...call });
  }

  /** @param {string} id @param {MatchedCall} [call] */
  cancel(id, call) {
    return this.keyed("POST /bookings/{id}/cancel", { path: { id }, ...call });
  }

  /**
   * Sets whom a booking is for, whatever became of it.
   * @param {string} id
   * @param {Types.NewCustomer} customer
   * @param {MatchedCall} [call]
   */
  setCustomer(id, customer, call) {
    return this.keyed("PUT /bookings/{id}/customer", { path: { id }, body: customer, ...call });
  }

  // --- waiting lists

  /**
   * Waits for seats of a sold-out ticket type. An offer is a booking: `booking_id` of the entry.
   * @param {Types.NewWaitingEntry} entry
   * @param {KeyedCall} [call]
   */
  joinWaitingList(entry, call) {
    return this.keyed("POST /waiting-list", { body: entry, ...call });
  }

  /** @param {Types.PageQuery} [query] @param {Call} [call] */
  waitingEntries(query, call) {
    return this.list("GET /waiting-list", { query, ...call });
  }

  /** @param {string} id @param {Call} [call] */
  waitingEntry(id, call) {
    return this.request("GET /waiting-list/{id}", { path: { id }, ...call });
  }

  /** Waits no longer. An offer is declined by `cancel`. @param {string} id @param {Call} [call] */
  leaveWaitingList(id, call) {
    return this.request("POST /waiting-list/{id}/leave", { path: { id }, ...call });
  }

  // --- payment

  /**
   * What Stripe.js needs to let the customer pay.
   * @param {string} bookingId
   * @param {Call} [call]
   */
  paymentIntent(bookingId, call) {
    return this.request("POST /payment/create-intent", { body: { booking_id: bookingId }, ...call });
  }

  // --- tickets

  /**
   * The tickets of a booking, with its event: all that a page to print them needs.
   * @param {string} id
   * @param {Types.PageQuery} [query]
   * @param {Call} [call]
   */
  tickets(id, query, call) {
    return this.request("GET /bookings/{id}/tickets", { path: { id }, query, ...call });
  }

  /** A ticket's QR code as SVG. @param {string} id @param {string} ticketId @param {Call} [call] */
  ticketSvg(id, ticketId, call) {
    const path = { id, ticket_id: ticketId };
    return this.request("GET /bookings/{id}/tickets/{ticket_id}.svg", { path, blob: true, ...call });
  }

  /** A ticket's QR code as PNG. @param {string} id @param {string} ticketId @param {Call} [call] */
  ticketPng(id, ticketId, call) {
    const path = { id, ticket_id: ticketId };
    return this.request("GET /bookings/{id}/tickets/{ticket_id}.png", { path, blob: true, ...call });
  }

  /** The booking's entry for a calendar, an iCalendar file. @param {string} id @param {Call} [call] */
  calendar(id, call) {
    return this.request("GET /bookings/{id}/calendar.ics", { path: { id }, blob: true, ...call });
  }

  /** The public keys that check tickets' codes. @param {Call} [call] */
  ticketKeys(call) {
    return this.request("GET /tickets/keys", { token: null, ...call });
  }

  // --- live changes

  /**
   * The booking as it is now, then with each change, until the loop is left or the signal aborted. While it waits
   * for its intent, `payment.queue_position` falls. Of states that follow each other at once only the last may come.
   * @param {string | Types.Booking} booking
   * @param {Call} [call]
   * @returns {AsyncGenerator<Types.Booking, void, undefined>}
   */
  watch(booking, { signal } = {}) {
    return this.#live.watch("booking", typeof booking === "string" ? booking : booking.id, signal);
  }

  /**
   * The event as it is now, then with each change of it and of its free seats; for operators an OperatorsEvent.
   * @template {Types.Event} [E=Types.Event]
   * @param {string | Types.Event} event
   * @param {Call} [call]
   * @returns {AsyncGenerator<E, void, undefined>}
   */
  watchEvent(event, { signal } = {}) {
    return this.#live.watch("event", typeof event === "string" ? event : event.id, signal);
  }

  /**
   * An entry of this customer's in a waiting list, as it is now, then when it gets an offer, is left or closed. What
   * becomes of an offer is told by its booking, and the position changes without a message: both are to be read.
   * @param {string | Types.WaitingEntry} entry
   * @param {Call} [call]
   * @returns {AsyncGenerator<Types.WaitingEntry, void, undefined>}
   */
  watchWaitingEntry(entry, { signal } = {}) {
    return this.#live.watch("waiting_entry", typeof entry === "string" ? entry : entry.id, signal);
  }

  /**
   * The booking, once `predicate` is true of it. It should also be true where the booking has ended otherwise.
   * @param {string | Types.Booking} booking
   * @param {(booking: Types.Booking) => boolean} predicate
   * @param {Call} [call]
   * @returns {Promise<Types.Booking>}
   */
  async waitUntil(booking, predicate, call) {
    if (typeof booking !== "string" && predicate(booking)) return booking;
    for await (const now of this.watch(booking, call)) if (predicate(now)) return now;
    throw new HoldfastError("closed", "The client was closed");
  }

  /** Closes the socket; loops that watch something end. */
  close() {
    this.#live.close();
  }

  // --- any operation: also those that this client does not know

  /**
   * Sends a request, several times if need be, and returns the answer.
   * @template {string} O
   * @param {O} operation Method and path, as "GET /events/{id}"
   * @param {Sent} [sent]
   * @returns {Promise<Types.Answer<O>>}
   */
  request(operation, sent = {}) {
    const { signal } = sent;
    /** @param {string | null} token */
    const send = (token) => this.#rest.once(operation, { ...sent, token });
    return this.#rest.repeat(async () => {
      if (sent.token !== undefined) return send(sent.token);
      const first = await this.#tokens.get(signal);
      try {
        return await send(first);
      } catch (error) {
        if (first === null || !(error instanceof HoldfastError) || error.status !== 401) throw error;
        const other = await this.#tokens.other(first, signal);
        if (other === null) throw error;
        return send(other);
      }
    }, signal);
  }

  /**
   * `request` with an Idempotency-Key, which is kept until the outcome is known.
   * @template {string} O
   * @param {O} operation
   * @param {Sent} [sent]
   * @returns {Promise<Types.Answer<O>>}
   */
  async keyed(operation, sent = {}) {
    if (sent.key !== undefined) return this.request(operation, sent);
    const { path, body, ifMatch } = sent;
    const content = body instanceof Blob ? hashed(new Uint8Array(await body.arrayBuffer())) : body;
    const { key, forget } = await this.#keys.take(JSON.stringify([operation, path, content, ifMatch]));
    try {
      const answer = await this.request(operation, { ...sent, key });
      await forget();
      return answer;
    } catch (error) {
      if (error instanceof HoldfastError && error.final) await forget();
      throw error;
    }
  }

  /**
   * A list of any operation.
   * @template {string} O
   * @param {O} operation
   * @param {Sent} [sent]
   * @returns {Listing<Types.Listed<O>>}
   */
  list(operation, sent = {}) {
    return new Listing((cursor) => {
      const query = cursor === undefined ? sent.query : { ...sent.query, cursor };
      return this.request(operation, { ...sent, query });
    });
  }
}

/** What operators do: the token needs the scope that the OpenAPI document names. */
class Admin {
  #holdfast;

  /** @param {Holdfast} holdfast */
  constructor(holdfast) {
    this.#holdfast = holdfast;
  }

  /** What needs a person now, by its kind. @param {Call} [call] */
  attention(call) {
    return this.#holdfast.request("GET /admin/attention", { ...call });
  }

  /** @param {Types.AdminListEventsQuery} [query] @param {Call} [call] */
  events(query, call) {
    return this.#holdfast.list("GET /admin/events", { query, ...call });
  }

  /** @param {string} id @param {Call} [call] */
  event(id, call) {
    return this.#holdfast.request("GET /admin/events/{id}", { path: { id }, ...call });
  }

  /** @param {string} id @param {Types.PageQuery} [query] @param {Call} [call] */
  eventHistory(id, query, call) {
    return this.#holdfast.list("GET /admin/events/{id}/history", { path: { id }, query, ...call });
  }

  /** Who waits, in the order of the line. @param {string} id @param {Types.PageQuery} [query] @param {Call} [call] */
  waitingList(id, query, call) {
    return this.#holdfast.list("GET /admin/events/{id}/waiting-list", { path: { id }, query, ...call });
  }

  /** @param {Types.NewEvent} event @param {KeyedCall} [call] */
  createEvent(event, call) {
    return this.#holdfast.keyed("POST /admin/events", { body: event, ...call });
  }

  /**
   * A description as customers will see it; nothing changes.
   * @param {string} description Markdown
   * @param {Call} [call]
   */
  previewDescription(description, call) {
    return this.#holdfast.request("POST /admin/events/preview-description", { body: { description }, ...call });
  }

  /** @param {string} id @param {Types.EventPatch} changes @param {MatchedCall} [call] */
  updateEvent(id, changes, call) {
    return this.#holdfast.keyed("PATCH /admin/events/{id}", { path: { id }, body: changes, ...call });
  }

  /** The image of an event, also of a draft, a WebP. @param {string} id @param {Call} [call] */
  eventImage(id, call) {
    return this.#holdfast.request("GET /admin/events/{id}/image", { path: { id }, blob: true, ...call });
  }

  /**
   * Gives an event an image, in place of the one that it has.
   * @param {string} id
   * @param {Blob} image A PNG, JPEG or WebP
   * @param {MatchedCall} [call]
   */
  setEventImage(id, image, call) {
    return this.#holdfast.keyed("PUT /admin/events/{id}/image", { path: { id }, body: image, ...call });
  }

  /** @param {string} id @param {MatchedCall} [call] */
  deleteEventImage(id, call) {
    return this.#holdfast.keyed("DELETE /admin/events/{id}/image", { path: { id }, ...call });
  }

  /** @param {string} eventId @param {Types.ListPromoCodesQuery} [query] @param {Call} [call] */
  promoCodes(eventId, query, call) {
    return this.#holdfast.list("GET /admin/events/{id}/codes", { path: { id: eventId }, query, ...call });
  }

  /**
   * Makes a promo code for an event, or many with the same terms.
   * @param {string} eventId
   * @param {Types.NewPromoCodes} codes
   * @param {KeyedCall} [call]
   */
  createPromoCodes(eventId, codes, call) {
    return this.#holdfast.keyed("POST /admin/events/{id}/codes", { path: { id: eventId }, body: codes, ...call });
  }

  /** @param {string} eventId @param {string} codeId @param {Types.PromoCodePatch} changes @param {KeyedCall} [call] */
  updatePromoCode(eventId, codeId, changes, call) {
    const path = { id: eventId, code_id: codeId };
    return this.#holdfast.keyed("PATCH /admin/events/{id}/codes/{code_id}", { path, body: changes, ...call });
  }

  /** @param {string} id @param {MatchedCall} [call] */
  cancelEvent(id, call) {
    return this.#holdfast.keyed("POST /admin/events/{id}/cancel", { path: { id }, ...call });
  }

  /** Tries all failed refunds of an event again. @param {string} id @param {MatchedCall} [call] */
  retryRefunds(id, call) {
    return this.#holdfast.keyed("POST /admin/events/{id}/refunds/retry", { path: { id }, ...call });
  }

  /** The bookings of all owners. @param {Types.AdminListBookingsQuery} [query] @param {Call} [call] */
  bookings(query, call) {
    return this.#holdfast.list("GET /admin/bookings", { query, ...call });
  }

  /** Sells seats at the box office, or gives them away. @param {Types.NewSale} sale @param {KeyedCall} [call] */
  sell(sale, call) {
    return this.#holdfast.keyed("POST /admin/bookings", { body: sale, ...call });
  }

  /**
   * Gives back an amount, or all that is left.
   * @param {string} id
   * @param {Types.NewRefund} [refund]
   * @param {MatchedCall} [call]
   */
  refund(id, refund = {}, call) {
    return this.#holdfast.keyed("POST /admin/bookings/{id}/refund", { path: { id }, body: refund, ...call });
  }

  /**
   * Lets somebody in by a ticket; every error lets nobody in.
   * @param {Types.NewCheckIn} shown
   * @param {Call} [call]
   */
  checkIn(shown, call) {
    const body = { ...shown, id: shown.id ?? newId() };
    return this.#holdfast.request("POST /admin/tickets/check-in", { body, ...call });
  }

  /** Sends what was checked offline. @param {Types.NewCheckIns} shown @param {Call} [call] */
  checkIns(shown, call) {
    return this.#holdfast.request("POST /admin/tickets/check-ins", { body: shown, ...call });
  }

  /** The ticket lets somebody in again. @param {string} checkInId @param {Call} [call] */
  undoCheckIn(checkInId, call) {
    return this.#holdfast.request("POST /admin/tickets/undo", { body: { check_in_id: checkInId }, ...call });
  }

  /**
   * What a scanner needs without a network, and what has changed since its mark.
   * @param {string} eventId
   * @param {Types.GetDoorQuery} [query]
   * @param {Call} [call]
   */
  door(eventId, query, call) {
    return this.#holdfast.request("GET /admin/events/{id}/door", { path: { id: eventId }, query, ...call });
  }

  /** The mails about a booking, oldest first. @param {string} id @param {Call} [call] */
  mails(id, call) {
    return this.#holdfast.list("GET /admin/bookings/{id}/mails", { path: { id }, ...call });
  }

  /** Sends a mail about a booking again. @param {string} id @param {Types.NewMail} mail @param {KeyedCall} [call] */
  resendMail(id, mail, call) {
    return this.#holdfast.keyed("POST /admin/bookings/{id}/mails", { path: { id }, body: mail, ...call });
  }

  /** Bookings as a CSV file. @param {Types.ExportBookingsQuery} [query] @param {Call} [call] */
  exportBookings(query, call) {
    return this.#holdfast.request("GET /admin/exports/bookings.csv", { query, blob: true, ...call });
  }

  /** Seats as a CSV file. @param {Types.ExportSeatsQuery} [query] @param {Call} [call] */
  exportSeats(query, call) {
    return this.#holdfast.request("GET /admin/exports/seats.csv", { query, blob: true, ...call });
  }

  /** Money as a CSV file. @param {Types.ExportMoneyQuery} [query] @param {Call} [call] */
  exportMoney(query, call) {
    return this.#holdfast.request("GET /admin/exports/money.csv", { query, blob: true, ...call });
  }

  /**
   * Erases a customer's name, addresses and telephone number in all bookings.
   * @param {Types.NewErasure} customers
   * @param {KeyedCall} [call]
   */
  eraseCustomers(customers, call) {
    return this.#holdfast.keyed("POST /admin/customers/erase", { body: customers, ...call });
  }

  /** @param {Types.NewRevocation} tokens @param {KeyedCall} [call] */
  revokeTokens(tokens, call) {
    return this.#holdfast.keyed("POST /admin/tokens/revoke", { body: tokens, ...call });
  }

  /** @param {Types.PageQuery} [query] @param {Call} [call] */
  revokedTokens(query, call) {
    return this.#holdfast.list("GET /admin/tokens/revoked", { query, ...call });
  }

  /** @param {Call} [call] */
  webhookEndpoints(call) {
    return this.#holdfast.list("GET /admin/webhook-endpoints", { ...call });
  }

  /** @param {string} id @param {Call} [call] */
  webhookEndpoint(id, call) {
    return this.#holdfast.request("GET /admin/webhook-endpoints/{id}", { path: { id }, ...call });
  }

  /** The answer alone has its secret. @param {Types.NewWebhookEndpoint} endpoint @param {KeyedCall} [call] */
  createWebhookEndpoint(endpoint, call) {
    return this.#holdfast.keyed("POST /admin/webhook-endpoints", { body: endpoint, ...call });
  }

  /** @param {string} id @param {Types.WebhookEndpointPatch} changes @param {MatchedCall} [call] */
  updateWebhookEndpoint(id, changes, call) {
    return this.#holdfast.keyed("PATCH /admin/webhook-endpoints/{id}", { path: { id }, body: changes, ...call });
  }

  /** Deletes an endpoint, and what it is still to be sent. @param {string} id @param {MatchedCall} [call] */
  deleteWebhookEndpoint(id, call) {
    return this.#holdfast.keyed("DELETE /admin/webhook-endpoints/{id}", { path: { id }, ...call });
  }

  /**
   * Gives an endpoint another secret, which the answer alone has. Those before end after an overlap.
   * @param {string} id
   * @param {Types.NewWebhookSecret} [secret]
   * @param {MatchedCall} [call]
   */
  rotateWebhookSecret(id, secret = {}, call) {
    return this.#holdfast.keyed("POST /admin/webhook-endpoints/{id}/secrets", { path: { id }, body: secret, ...call });
  }

  /** Newest first. @param {string} id @param {Types.ListWebhookDeliveriesQuery} [query] @param {Call} [call] */
  webhookDeliveries(id, query, call) {
    return this.#holdfast.list("GET /admin/webhook-endpoints/{id}/deliveries", { path: { id }, query, ...call });
  }

  /**
   * Sends an endpoint again what has failed since a time.
   * @param {string} id
   * @param {Types.NewRepetition} repetition
   * @param {KeyedCall} [call]
   */
  repeatWebhookDeliveries(id, repetition, call) {
    return this.#holdfast.keyed("POST /admin/webhook-endpoints/{id}/repeat", { path: { id }, body: repetition, ...call });
  }

  /** @param {string} id @param {Call} [call] */
  webhookDelivery(id, call) {
    return this.#holdfast.request("GET /admin/webhook-deliveries/{id}", { path: { id }, ...call });
  }

  /** Sends a delivery again. @param {string} id @param {KeyedCall} [call] */
  repeatWebhookDelivery(id, call) {
    return this.#holdfast.keyed("POST /admin/webhook-deliveries/{id}/repeat", { path: { id }, ...call });
  }
}
