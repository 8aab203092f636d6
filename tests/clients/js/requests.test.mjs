// Requests: what is sent, which errors are tried again and when, how a call is aborted.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Holdfast, HoldfastError } from "../../../clients/js/holdfast.js";
import { EVENT, booking, calm, json, outcome, problem, staged } from "./stage.mjs";

const LOST = () => new TypeError("fetch failed");
const TOKEN = { token: "own" };

test("a request has the path's and the query's values, and no token where none is needed", async () => {
  const { holdfast, requests } = staged({ ...TOKEN, answers: [json({ items: [] }), json({ id: EVENT })] });
  await holdfast.events({ q: "Jazz & more", from: new Date("2030-05-01T19:30:00Z"), on_sale: true, to: undefined });
  await holdfast.event("a/b");
  assert.equal(requests[0].path, "/events?q=Jazz+%26+more&from=2030-05-01T19%3A30%3A00.000Z&on_sale=true");
  assert.equal(requests[1].path, "/events/a%2Fb");
  assert.deepEqual(requests.map(({ headers }) => headers.Authorization), [undefined, undefined]);
});

test("options become headers", async () => {
  const { holdfast, requests } = staged({ ...TOKEN, answers: [json(booking("b", 1)), json({}), json({})] });
  await holdfast.book({ event_id: EVENT, quantity: 1 }, { key: "mine", wait: 2 });
  await holdfast.admin.updateEvent(EVENT, { name: "Later" }, { ifMatch: 7 });
  await holdfast.cancel("b", { ifMatch: '"8"' });
  const { Authorization, Prefer, "Idempotency-Key": key, "Content-Type": type } = requests[0].headers;
  assert.deepEqual([Authorization, Prefer, key, type], ["Bearer own", "wait=2", "mine", "application/json"]);
  assert.deepEqual(requests.slice(1).map(({ headers }) => headers["If-Match"]), ['"7"', '"8"']);
  assert.deepEqual(requests[0].body, { event_id: EVENT, quantity: 1 });
});

test("a problem is an error with its code, status and members", async () => {
  const { holdfast } = staged({ ...TOKEN, answers: [problem(409, "booking_paused", { retry_after: 30, headers: { "Retry-After": "30" } })] });
  const error = await holdfast.book({ event_id: EVENT, quantity: 1 }).catch((raised) => raised);
  assert.ok(error instanceof HoldfastError);
  assert.deepEqual([error.code, error.status, error.retryAfter, error.retryable], ["booking_paused", 409, 30, false]);
  assert.equal(error.message, "It is booking_paused");
  assert.equal(error.problem.retry_after, 30);
});

const PASSING = {
  "no answer": [LOST, 0],
  "429 with Retry-After": [() => problem(429, "too_many_requests", { headers: { "Retry-After": "3" } }), 3000],
  "503 of the gateway": [() => problem(503, "unavailable", { headers: { "Retry-After": "1" } }), 1000],
  "503 with a date": [() => problem(503, "unavailable", { headers: { "Retry-After": "Wed, 01 May 2030 12:00:05 GMT" } }), 5000],
  "502 of a proxy": [() => new Response("<html>", { status: 502, headers: { "Content-Type": "text/html" } }), 0],
  "504 of a proxy": [() => new Response("", { status: 504 }), 0],
  "a request that is queued": [() => json({ kind: "queued", status: "pending", version: 0 }, { status: 202 }), 0],
};
for (const [name, [answer, atLeastMs]] of Object.entries(PASSING)) {
  test(`sent again after ${name}: after Retry-After, and a pause that is drawn`, async () => {
    const { holdfast, clock, requests } = staged({ ...TOKEN, answers: [answer(), answer(), json(booking("b", 1))] });
    const found = outcome(holdfast.book({ event_id: EVENT, quantity: 1 }));
    await calm();
    assert.deepEqual([requests.length, clock.due], [1, [atLeastMs + 250]]);
    await clock.pass(atLeastMs + 250);
    assert.equal(requests.length, 2);
    await clock.pass(10_000);
    assert.equal(found.value?.id, "b");
    assert.equal(new Set(requests.map(({ headers }) => headers["Idempotency-Key"])).size, 1);
  });
}

const LASTING = [[400, "malformed_request"], [403, "forbidden"], [404, "not_found"], [409, "sold_out"], [422, "invalid_request"], [500, "internal_error"]];
for (const [status, code] of LASTING) {
  test(`${code} is raised at once`, async () => {
    const { holdfast, clock } = staged({ ...TOKEN, answers: [problem(status, code)] });
    await assert.rejects(holdfast.booking("b"), { code, status });
    assert.deepEqual(clock.due, []);
  });
}

test("pauses double up to a longest one, and after eight tries the error is raised", async () => {
  const { holdfast, clock, requests } = staged({ ...TOKEN, answers: Array.from({ length: 8 }, LOST) });
  const found = outcome(holdfast.booking("b"));
  const pauses = [];
  for (await calm(); !found.done; await clock.pass(pauses.at(-1))) pauses.push(clock.due[0]);
  assert.deepEqual(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000]);
  assert.deepEqual([requests.length, found.error.code, found.error.status], [8, "unreachable", 0]);
  assert.ok(found.error.cause instanceof TypeError);
});

test("a long Retry-After is left to the caller", async () => {
  const { holdfast } = staged({ ...TOKEN, answers: [problem(503, "unavailable", { headers: { "Retry-After": "61" } })] });
  await assert.rejects(holdfast.booking("b"), { code: "unavailable", retryAfter: 61, retryable: true });
});

test("an answer that never comes ends after a time, and the request is sent again", async () => {
  const { holdfast, clock, requests } = staged({ ...TOKEN, answers: [undefined, json(booking("b", 1))] });
  const found = outcome(holdfast.booking("b"));
  await clock.pass(45_000);
  assert.equal(requests.length, 1);
  await clock.pass(250);
  assert.equal(found.value.id, "b");
  assert.deepEqual(clock.due, []);
});

test("an answer that goes on coming may take longer, and one that stops is asked for again", async () => {
  let feed;
  const sent = (signal) => new Response(new ReadableStream({ start: (stream) => {
    feed = stream;
    signal.addEventListener("abort", () => stream.error(signal.reason));
  } }), { headers: { "Content-Type": "text/csv" } });
  const answer = ({ signal }) => sent(signal);
  const { holdfast, clock, requests } = staged({ ...TOKEN, answers: [answer, answer] });
  const found = outcome(holdfast.admin.exportMoney({ created_from: new Date("2030-05-01T12:00:00Z") }));
  await clock.pass(40_000);
  feed.enqueue(new TextEncoder().encode("lost"));
  await clock.pass(45_250); // of it nothing more comes
  for (const piece of ["refe", "rence"]) {
    await clock.pass(40_000);
    feed.enqueue(new TextEncoder().encode(piece));
  }
  await clock.pass(40_000);
  feed.close();
  await calm();
  assert.equal(await found.value.text(), "reference");
  const path = "/admin/exports/money.csv?created_from=2030-05-01T12%3A00%3A00.000Z";
  assert.deepEqual(requests.map((request) => request.path), [path, path]);
  assert.deepEqual(clock.due, []);
});

test("a call is aborted while it waits for an answer, and between two tries", async () => {
  for (const answers of [[undefined], [LOST()]]) {
    const abort = new AbortController();
    const { holdfast, clock } = staged({ ...TOKEN, answers });
    const found = outcome(holdfast.book({ event_id: EVENT, quantity: 1 }, { signal: abort.signal }));
    await calm();
    assert.equal(found.done, false);
    abort.abort(new Error("the page is left"));
    await calm();
    assert.equal(found.error.message, "the page is left");
    assert.deepEqual(clock.due, []);
  }
});

test("a call whose signal is aborted already sends nothing", async () => {
  const { holdfast, requests } = staged(TOKEN);
  await assert.rejects(holdfast.booking("b", { signal: AbortSignal.abort(new Error("over")) }), { message: "over" });
  assert.equal(requests.length, 0);
});

test("a list is its first page, or all of its items", async () => {
  const page = (items, next_cursor = null) => json({ items, next_cursor });
  const { holdfast, requests } = staged({ answers: [page([1, 2], "more"), page([1, 2], "more"), page([3])] });
  assert.deepEqual(await holdfast.events({ limit: 2 }), { items: [1, 2], next_cursor: "more" });
  const all = [];
  for await (const item of holdfast.events({ limit: 2 })) all.push(item);
  assert.deepEqual(all, [1, 2, 3]);
  assert.deepEqual(requests.map(({ path }) => path), ["/events?limit=2", "/events?limit=2", "/events?limit=2&cursor=more"]);
});

test("an operation that this client does not know is sent, also with a file and for a file", async () => {
  const image = new Blob(["..."], { type: "image/png" });
  const bytes = new Blob(["..."]);
  const answers = [new Response(null, { status: 204 }), new Response("<svg/>", { headers: { "Content-Type": "image/svg+xml" } })];
  const { holdfast, requests } = staged({ ...TOKEN, answers });
  assert.equal(await holdfast.request("PUT /admin/events/{id}/image", { path: { id: EVENT }, body: image }), null);
  const found = await holdfast.request("GET /x/{one}/{other}.svg", { path: { one: "1", other: "2" }, blob: true });
  assert.equal(await found.text(), "<svg/>");
  assert.deepEqual([requests[0].headers["Content-Type"], requests[0].body], ["image/png", image]);
  assert.equal(requests[1].path, "/x/1/2.svg");
  answers.push(json({}));
  await holdfast.admin.setEventImage(EVENT, bytes);
  assert.deepEqual([requests[2].headers["Content-Type"], requests[2].body], ["application/octet-stream", bytes]);
});

test("what is no JSON is no answer", async () => {
  const { holdfast } = staged({ ...TOKEN, answers: [new Response("<html>", { headers: { "Content-Type": "text/html" } })] });
  await assert.rejects(holdfast.booking("b"), { code: "http_200", problem: null });
});

test("the gateway is where the module came from, or what is said", () => {
  assert.throws(() => new Holdfast(), { name: "TypeError", message: /file:/ }); // here it came from a file
  new Holdfast({ url: "https://tickets.example/" });
});
