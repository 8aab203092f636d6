// A client with a clock that tests move, requests that they answer, and sockets whose other end they hold.
import assert from "node:assert/strict";

import { Holdfast } from "../../../clients/js/holdfast.js";

export const URL = "http://gateway.test";
export const EVENT = "018f2b6e-0000-7000-8000-00000000000e";
export const HALF = 0.5; // what `random` draws

/** Lets all go on that can without a timer or an answer. */
export async function calm() {
  for (let wait = 0; wait < 3; wait++) await new Promise((resolve) => setImmediate(resolve));
}

export class Clock {
  time = Date.parse("2030-05-01T12:00:00Z");
  #timers = new Map();
  #last = 0;

  now = () => this.time;
  setTimeout = (run, ms) => {
    this.#timers.set(++this.#last, { run, at: this.time + ms });
    return this.#last;
  };
  clearTimeout = (timer) => this.#timers.delete(timer);

  /** In how many milliseconds each timer is due, the next first. */
  get due() {
    return [...this.#timers.values()].map(({ at }) => at - this.time).sort((one, other) => one - other);
  }

  /** Moves the time on, timer by timer. */
  async pass(ms) {
    const end = this.time + ms;
    await calm();
    for (;;) {
      const [next] = [...this.#timers].sort(([, one], [, other]) => one.at - other.at);
      if (!next || next[1].at > end) break;
      this.#timers.delete(next[0]);
      this.time = Math.max(this.time, next[1].at);
      next[1].run();
      await calm();
    }
    this.time = end;
  }
}

/** A socket, as the client and as the gateway see it. */
export class Socket {
  sent = [];
  closed = false;

  constructor(url) {
    this.url = url;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  // The gateway's side.
  async open() {
    this.onopen?.({});
    await calm();
  }

  async say(...messages) {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
    await calm();
  }

  async end(code) {
    this.onclose?.({ code });
    await calm();
  }

  async fail() {
    this.onerror?.({});
    await calm();
  }

  /** What the client asks for: the ids of its subscriptions. */
  get subscribed() {
    const asked = this.sent.filter(({ type }) => type === "subscribe");
    return asked.map(({ booking_id, event_id, waiting_entry_id }) => booking_id ?? event_id ?? waiting_entry_id);
  }
}

export const json = (body, { status = 200, headers = {} } = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });

export const problem = (status, code, { headers, ...members } = {}) =>
  json({ type: `urn:holdfast:problem:${code}`, title: code, detail: `It is ${code}`, status, code, ...members }, { status, headers });

export const booking = (id, version, more = {}) => ({
  kind: "booking",
  id,
  event_id: EVENT,
  status: "pending",
  version,
  ...more,
  payment: { status: "awaiting", client_secret: "pi_1_secret_2", ...more.payment },
});

export const guest = (clock, { token = "token-1", subject = "guest_1", seconds = 86_400 } = {}) => ({
  token,
  subject,
  expires_at: new Date(clock.time + seconds * 1000).toISOString(),
});

/**
 * A client and its surroundings. `answers`: what each request gets, in their order: a Response, an error that the
 * fetch fails with, a function of the request, or nothing for an answer that never comes.
 */
export function staged({ answers = [], ...options } = {}) {
  const clock = options.clock ?? new Clock();
  const requests = [];
  const sockets = [];
  const fetch = async (url, { method, headers, body, signal }) => {
    const sent = typeof body === "string" ? JSON.parse(body) : body;
    const request = { method, path: url.replace(URL, ""), headers, body: sent, signal };
    requests.push(request);
    assert.ok(answers.length > 0, `not expected: ${method} ${url}`);
    let answer = answers.shift();
    if (typeof answer === "function") answer = await answer(request);
    if (answer === undefined) {
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    }
    if (answer instanceof Error) throw answer;
    return answer;
  };
  class Opened extends Socket {
    constructor(url) {
      super(url);
      sockets.push(this);
    }
  }
  const holdfast = new Holdfast({ url: URL, clock, fetch, WebSocket: Opened, random: () => HALF, ...options });
  return { holdfast, clock, requests, sockets, answers };
}

/** A storage like that of a browser, which outlives clients. */
export class Storage {
  kept = new Map();
  getItem = (name) => this.kept.get(name) ?? null;
  setItem = (name, value) => void this.kept.set(name, value);
  removeItem = (name) => void this.kept.delete(name);
}

/** What became of a promise so far. */
export function outcome(promise) {
  const found = { done: false, value: undefined, error: undefined };
  promise.then(
    (value) => Object.assign(found, { done: true, value }),
    (error) => Object.assign(found, { done: true, error }),
  );
  return found;
}

/** Everything that a loop over `changes` has seen so far, and how it ended. */
export function seen(changes) {
  const found = { values: [], ended: false, error: undefined };
  (async () => {
    for await (const value of changes) found.values.push(value);
  })().then(
    () => (found.ended = true),
    (error) => Object.assign(found, { ended: true, error }),
  );
  return found;
}
