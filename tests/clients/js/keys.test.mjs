// Idempotency keys: the same until the outcome is known, over lost answers, second clicks and reloads.
import assert from "node:assert/strict";
import { test } from "node:test";

import { EVENT, Clock, Storage, booking, calm, json, outcome, problem, staged } from "./stage.mjs";

const TOKEN = { token: "own" };
const SEATS = { event_id: EVENT, quantity: 1 };
const LOST = Array.from({ length: 8 }, () => new TypeError("fetch failed"));
const keys = (...stages) => stages.flatMap(({ requests }) => requests.map(({ headers }) => headers["Idempotency-Key"]));
const different = (found) => new Set(found).size;

/** Passes all pauses. */
async function failed(stage, promise) {
  const found = outcome(promise);
  for (await calm(); !found.done; ) await stage.clock.pass(20_000);
  return found.error;
}

test("each booking has a key of its own, with 128 bits", async () => {
  const stage = staged({ ...TOKEN, answers: [json(booking("a", 1)), json(booking("b", 1))] });
  await stage.holdfast.book(SEATS);
  await stage.holdfast.book(SEATS);
  assert.equal(different(keys(stage)), 2);
  for (const key of keys(stage)) assert.match(key, /^[0-9a-f]{32}$/);
});

test("after all answers were lost the same call goes on with the same key, also after a reload", async () => {
  const storage = new Storage();
  const clock = new Clock();
  const before = staged({ ...TOKEN, clock, storage, answers: [...LOST] });
  assert.equal((await failed(before, before.holdfast.book(SEATS))).code, "unreachable");
  const after = staged({ ...TOKEN, clock, storage, answers: [json(booking("a", 1)), json(booking("b", 1)), json(booking("c", 1))] });
  await after.holdfast.book({ event_id: EVENT, quantity: 2 }); // another intention
  await after.holdfast.book(SEATS);
  const [first, ...rest] = [...new Set(keys(before))];
  assert.deepEqual(rest, []);
  assert.notEqual(keys(after)[0], first);
  assert.equal(keys(after)[1], first);
  await after.holdfast.book(SEATS); // known now, so this is another booking
  assert.notEqual(keys(after)[2], first);
  assert.equal(storage.kept.size, 0);
});

for (const [status, code, kept] of [
  [409, "sold_out", false], [422, "invalid_request", false], [401, "unauthorized", true], [500, "internal_error", true],
]) {
  test(`after ${code} the key is ${kept ? "kept, as an earlier answer may have been lost" : "forgotten"}`, async () => {
    const stage = staged({ ...TOKEN, answers: [problem(status, code), json(booking("b", 1))] });
    await assert.rejects(stage.holdfast.book(SEATS), { code });
    await stage.holdfast.book(SEATS);
    assert.equal(different(keys(stage)), kept ? 1 : 2);
  });
}

test("each file has a key of its own, and the same one again", async () => {
  const stage = staged({ ...TOKEN, answers: [...LOST, json({}), json({})] });
  const file = (text) => new Blob([text], { type: "image/png" });
  assert.equal((await failed(stage, stage.holdfast.admin.setEventImage(EVENT, file("one")))).code, "unreachable");
  await stage.holdfast.admin.setEventImage(EVENT, file("two"));
  await stage.holdfast.admin.setEventImage(EVENT, file("one"));
  const [first, two, again] = keys(stage).slice(7);
  assert.equal(again, first);
  assert.notEqual(two, first);
});

test("an aborted request keeps its key", async () => {
  const abort = new AbortController();
  const stage = staged({ ...TOKEN, answers: [undefined, json(booking("b", 1))] });
  const found = outcome(stage.holdfast.book(SEATS, { signal: abort.signal }));
  await calm();
  abort.abort(new Error("over"));
  await calm();
  assert.equal(found.error.message, "over");
  await stage.holdfast.book(SEATS);
  assert.equal(different(keys(stage)), 1);
});

test("two clicks at once are one booking", async () => {
  const stage = staged({ ...TOKEN, answers: [json(booking("b", 1)), json(booking("b", 1))] });
  await Promise.all([stage.holdfast.book(SEATS), stage.holdfast.book(SEATS)]);
  assert.equal(different(keys(stage)), 1);
});

test("a key that is known late forgets no newer one", async () => {
  let answer;
  const late = () => new Promise((resolve) => (answer = () => resolve(json(booking("a", 1)))));
  const storage = new Storage();
  const stage = staged({ ...TOKEN, storage, answers: [late, json(booking("a", 1)), undefined] });
  const slow = stage.holdfast.book(SEATS);
  await stage.holdfast.book(SEATS); // the same booking, answered first
  const abort = new AbortController();
  const third = outcome(stage.holdfast.book(SEATS, { signal: abort.signal })); // another one
  await calm();
  answer();
  await slow;
  abort.abort();
  await calm();
  assert.equal(third.done, true);
  const after = staged({ ...TOKEN, storage, answers: [json(booking("b", 1))] });
  await after.holdfast.book(SEATS);
  const found = keys(stage, after);
  assert.deepEqual([found[0] === found[1], found[1] === found[2], found[2] === found[3]], [true, false, true]);
});

test("a key that was kept for more than a day is not used again", async () => {
  const storage = new Storage();
  const before = staged({ ...TOKEN, storage, answers: [...LOST] });
  await failed(before, before.holdfast.book(SEATS));
  const clock = new Clock();
  clock.time = before.clock.time + 25 * 3_600_000;
  const after = staged({ ...TOKEN, clock, storage, answers: [json(booking("a", 1))] });
  await after.holdfast.book(SEATS);
  assert.equal(different(keys(before, after)), 2);
});

test("what is kept names no content", async () => {
  const storage = new Storage();
  const stage = staged({ ...TOKEN, storage, answers: [...LOST] });
  await failed(stage, stage.holdfast.book({ ...SEATS, customer: { email: "ada@example.com" } }));
  const [[name, value]] = storage.kept;
  assert.doesNotMatch(name + value, /ada|@|018f2b6e/);
});

test("a storage may answer later, and may have what is no JSON", async () => {
  const kept = new Storage();
  kept.getItem = async () => "{";
  const stage = staged({ ...TOKEN, storage: kept, answers: [json(booking("a", 1))] });
  assert.equal((await stage.holdfast.book(SEATS)).id, "a");
});
