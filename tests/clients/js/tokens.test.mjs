// Tokens: a guest's is kept and renewed; those of others are asked for again when they are refused.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock, Storage, booking, calm, guest, json, outcome, problem, staged } from "./stage.mjs";

const HOUR = 3_600_000;
const sent = ({ requests }) => requests.map(({ method, path, headers }) => [`${method} ${path}`, headers.Authorization]);
const refused = () => problem(401, "unauthorized");

test("a guest is made once, and is the same after a reload", async () => {
  const clock = new Clock();
  const storage = new Storage();
  const before = staged({ clock, storage, answers: [json(guest(clock), { status: 201 })] });
  assert.equal(await before.holdfast.guest({ create: false }), null);
  assert.deepEqual(await Promise.all([before.holdfast.guest(), before.holdfast.guest()]), ["guest_1", "guest_1"]);
  const after = staged({ clock, storage, answers: [json(booking("b", 1))] });
  assert.equal(await after.holdfast.guest(), "guest_1");
  await after.holdfast.booking("b");
  assert.deepEqual(sent(after), [["GET /bookings/b", "Bearer token-1"]]);
});

test("a proof is sent where there is one", async () => {
  const clock = new Clock();
  const stage = staged({ clock, answers: [json(guest(clock))] });
  await stage.holdfast.guest({ proof: "captcha" });
  assert.deepEqual(stage.requests[0].body, { proof: "captcha" });
});

test("two pages that become guests at once are the same guest", async () => {
  const clock = new Clock();
  const storage = new Storage();
  const other = staged({ clock, storage, answers: [json(guest(clock, { subject: "guest_2", token: "token-2" }))] });
  const first = async () => {
    await other.holdfast.guest();
    return json(guest(clock));
  };
  const stage = staged({ clock, storage, answers: [first] });
  assert.equal(await stage.holdfast.guest(), "guest_2");
  assert.equal(await stage.holdfast.token(), "token-2");
});

test("a guest's token is renewed once half of its time is over, beside the requests", async () => {
  const clock = new Clock();
  const renewed = () => json(guest(clock, { token: "token-2" }));
  const stage = staged({ clock, token: null, answers: [json(guest(clock)), json({}), json({}), json({})] });
  await stage.holdfast.guest();
  await stage.holdfast.booking("b");
  clock.time += 12 * HOUR;
  stage.answers.splice(0, 1, renewed, json({})); // the renewal is sent first, and nobody waits for it
  await stage.holdfast.booking("b");
  await calm();
  await stage.holdfast.booking("b");
  assert.deepEqual(sent(stage).slice(1), [
    ["GET /bookings/b", "Bearer token-1"],
    ["POST /auth/guest/renew", "Bearer token-1"],
    ["GET /bookings/b", "Bearer token-1"],
    ["GET /bookings/b", "Bearer token-2"],
  ]);
});

test("a renewal that fails is tried again a minute later, and requests go on", async () => {
  const clock = new Clock();
  const stage = staged({ clock, answers: [json(guest(clock))] });
  await stage.holdfast.guest();
  clock.time += 13 * HOUR;
  stage.answers.push(problem(503, "unavailable"), json({}), json({}));
  await stage.holdfast.booking("b");
  await calm();
  await stage.holdfast.booking("b");
  clock.time += 60_000;
  stage.answers.push(json(guest(clock, { token: "token-2" })), json({}));
  await stage.holdfast.booking("b");
  assert.deepEqual(sent(stage).map(([operation]) => operation).filter((each) => each.startsWith("POST")), [
    "POST /auth/guest", "POST /auth/guest/renew", "POST /auth/guest/renew",
  ]);
});

test("a wrong clock does not matter to when a token is renewed, nor does it renew with each request", async () => {
  const clock = new Clock();
  const stage = staged({ clock, answers: [json({ ...guest(clock), expires_at: "2030-04-01T00:00:00Z" })] });
  await stage.holdfast.guest(); // by this clock the token has ended before it was made
  clock.time += 60_000;
  stage.answers.push(json({ ...guest(clock, { token: "token-2" }), expires_at: "2030-04-02T00:00:00Z" }), json({}), json({}));
  await stage.holdfast.booking("b");
  await calm();
  await stage.holdfast.booking("b");
  assert.equal(sent(stage).filter(([operation]) => operation.endsWith("renew")).length, 1);
});

test("another page's token is used when the own one is refused", async () => {
  const clock = new Clock();
  const storage = new Storage();
  const stage = staged({ clock, storage, answers: [json(guest(clock))] });
  await stage.holdfast.guest();
  const [name] = storage.kept.keys();
  storage.setItem(name, JSON.stringify({ ...guest(clock, { token: "token-2" }), received_at: clock.time }));
  stage.answers.push(refused(), json(booking("b", 1)));
  assert.equal((await stage.holdfast.booking("b")).id, "b");
  assert.deepEqual(sent(stage).slice(1).map(([, token]) => token), ["Bearer token-1", "Bearer token-2"]);
});

test("a guest whose token has ended gets the error, and is no other guest", async () => {
  const clock = new Clock();
  const stage = staged({ clock, answers: [json(guest(clock)), refused(), refused()] });
  await stage.holdfast.guest();
  await assert.rejects(stage.holdfast.booking("b"), { code: "unauthorized" });
  assert.deepEqual(sent(stage).map(([operation]) => operation), ["POST /auth/guest", "GET /bookings/b", "POST /auth/guest/renew"]);
});

test("a function is asked once for the first token, and again when one is refused", async () => {
  let number = 0;
  const token = () => `given-${++number}`;
  const stage = staged({ token, answers: [json({}), json({}), refused(), json({})] });
  await Promise.all([stage.holdfast.booking("a"), stage.holdfast.booking("b")]);
  await stage.holdfast.booking("c");
  assert.deepEqual(sent(stage).map(([, sent]) => sent), ["Bearer given-1", "Bearer given-1", "Bearer given-1", "Bearer given-2"]);
});

test("a function that knows the end is asked at half of the time", async () => {
  const clock = new Clock();
  let number = 0;
  const token = async () => ({ token: `given-${++number}`, expires_at: new Date(clock.time + HOUR).toISOString() });
  const stage = staged({ clock, token, answers: [json({}), json({}), json({})] });
  await stage.holdfast.booking("b");
  clock.time += HOUR / 2;
  await stage.holdfast.booking("b");
  await calm();
  await stage.holdfast.booking("b");
  assert.deepEqual(sent(stage).map(([, sent]) => sent), ["Bearer given-1", "Bearer given-1", "Bearer given-2"]);
});

test("a text that is refused is refused", async () => {
  const stage = staged({ token: "own", answers: [refused()] });
  await assert.rejects(stage.holdfast.booking("b"), { code: "unauthorized", status: 401 });
  assert.equal(stage.requests.length, 1);
});

test("a guest comes back by the link in a mail", async () => {
  const clock = new Clock();
  const stage = staged({ clock, answers: [json(guest(clock, { subject: "guest_9" }), { status: 201 })] });
  const link = { reference: "HF-5WE8-Y3KA", token: "t" };
  assert.equal(await stage.holdfast.openLink(link), "guest_9");
  assert.deepEqual(stage.requests[0].body, link);
  assert.equal(await stage.holdfast.guest(), "guest_9");
});

test("a guest comes back by a code, with a key that outlives a lost answer", async () => {
  const clock = new Clock();
  const storage = new Storage();
  const lost = Array.from({ length: 8 }, () => new TypeError("fetch failed"));
  const before = staged({ clock, storage, answers: lost });
  const found = outcome(before.holdfast.recover("ABCD-EFGH"));
  for (await calm(); !found.done; ) await clock.pass(20_000);
  const after = staged({ clock, storage, answers: [json(guest(clock, { subject: "guest_9" }), { status: 201 })] });
  assert.equal(await after.holdfast.recover("ABCD-EFGH"), "guest_9");
  const keys = [...before.requests, ...after.requests].map(({ headers }) => headers["Idempotency-Key"]);
  assert.equal(new Set(keys).size, 1);
  assert.equal(await after.holdfast.guest(), "guest_9");
  assert.doesNotMatch([...storage.kept].join(), /ABCD/);
});

test("a guest is forgotten", async () => {
  const clock = new Clock();
  const storage = new Storage();
  const stage = staged({ clock, storage, answers: [json(guest(clock))] });
  await stage.holdfast.guest();
  await stage.holdfast.forgetGuest();
  assert.deepEqual([storage.kept.size, await stage.holdfast.token()], [0, null]);
});

test("a renewal that ends late does not bring back a guest who was forgotten, or drop one who has come back", async () => {
  for (const other of [null, "guest_9"]) {
    const clock = new Clock();
    const storage = new Storage();
    const stage = staged({ clock, storage, answers: [json(guest(clock))] });
    await stage.holdfast.guest();
    clock.time += 13 * HOUR;
    let renew;
    const renewal = () => new Promise((resolve) => (renew = () => resolve(json(guest(clock, { token: "token-2" })))));
    stage.answers.push(renewal, json({}));
    await stage.holdfast.booking("b");
    if (other) stage.answers.push(json(guest(clock, { subject: other, token: "token-9" })));
    await (other ? stage.holdfast.recover("CODE") : stage.holdfast.forgetGuest());
    renew();
    await calm();
    assert.deepEqual([await stage.holdfast.guest({ create: false }), await stage.holdfast.token()], [other, other && "token-9"]);
    assert.doesNotMatch([...storage.kept].join(), /token-2/);
  }
});

test("a guest who comes back after the token's end gets the error, or another token where only the clock was wrong", async () => {
  for (const [answer, code] of [[refused, "unauthorized"], [() => json(guest(new Clock(), { token: "token-2" })), undefined]]) {
    const clock = new Clock();
    const stage = staged({ clock, answers: [json(guest(clock))] });
    await stage.holdfast.guest();
    clock.time += 25 * HOUR;
    stage.answers.push(problem(503, "unavailable"), answer());
    const found = outcome(stage.holdfast.guest());
    await clock.pass(1000);
    assert.deepEqual([found.done, found.error?.code], [true, code]);
    assert.equal(stage.requests.length, 3);
    if (!code) continue;
    await stage.holdfast.forgetGuest();
    stage.answers.push(json(guest(clock, { subject: "guest_2" })));
    assert.equal(await stage.holdfast.guest(), "guest_2");
  }
});

test("waiting for a token can be aborted", async () => {
  const abort = new AbortController();
  const stage = staged({ token: () => new Promise(() => {}) });
  const found = outcome(stage.holdfast.booking("b", { signal: abort.signal }));
  await calm();
  abort.abort(new Error("over"));
  await calm();
  assert.equal(found.error.message, "over");
});
