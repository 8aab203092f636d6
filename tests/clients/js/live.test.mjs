// The WebSocket: opened while something is watched, resumed by snapshots, closed codes as docs/websocket.md has them.
import assert from "node:assert/strict";
import { test } from "node:test";

import { HoldfastError, isDecided, isPayable } from "../../../clients/js/holdfast.js";
import { Clock, EVENT, booking, calm, guest, json, outcome, problem, seen, staged } from "./stage.mjs";

const snapshot = (...state) => ({ type: "snapshot", booking: booking(...state) });
const change = (...state) => ({ type: "booking", booking: booking(...state) });
const event = (version, available) => ({ id: EVENT, version, ticket_types: [{ available }] });
const versions = ({ values }) => values.map(({ version }) => version);

/** A client that watches booking "b", with its first socket open and the first snapshot there. */
async function watching({ signal, ...options } = {}) {
  const stage = staged({ token: "own", ...options });
  const states = [];
  stage.holdfast.addEventListener("connection", ({ detail }) => states.push(detail));
  const changes = seen(stage.holdfast.watch("b", { signal }));
  await calm();
  const [socket] = stage.sockets;
  await socket.open();
  await socket.say(snapshot("b", 3));
  return { ...stage, changes, socket, states };
}

/** The next socket, once the pause is over. */
async function reconnected({ clock, sockets }) {
  const count = sockets.length;
  for (let waits = 0; sockets.length === count && waits < 10; waits++) await clock.pass(clock.due[0] ?? 0);
  await sockets.at(-1).open();
  return sockets.at(-1);
}

test("the token is the first message, and then come the subscriptions", async () => {
  const { socket, changes, states } = await watching();
  assert.equal(socket.url, "ws://gateway.test/ws");
  assert.deepEqual(socket.sent, [{ type: "auth", token: "own" }, { type: "subscribe", booking_id: "b" }]);
  assert.deepEqual(versions(changes), [3]);
  assert.deepEqual(states, [{ open: true }]);
});

test("one socket is for all that is watched, and each sees its own", async () => {
  const { holdfast, socket, sockets, changes } = await watching();
  const twice = seen(holdfast.watch(booking("b", 1)));
  const other = seen(holdfast.watch("c"));
  const seats = seen(holdfast.watchEvent({ id: EVENT }));
  await calm();
  assert.deepEqual(versions(twice), [3]); // known already
  assert.deepEqual(socket.subscribed, ["b", "c", EVENT]);
  await socket.say(snapshot("c", 1), { type: "snapshot", event: event(9, 5) }, change("b", 4), change("unknown", 1));
  assert.deepEqual([changes, twice, other, seats].map(versions), [[3, 4], [3, 4], [1], [9]]);
  assert.equal(sockets.length, 1);
});

test("a booking that is no newer is dropped; of events two states may have one version", async () => {
  const { holdfast, socket, changes } = await watching();
  await socket.say(change("b", 3), change("b", 2), snapshot("b", 2), change("b", 5), change("b", 4));
  assert.deepEqual(versions(changes), [3, 5]);
  const seats = seen(holdfast.watchEvent(EVENT));
  await calm();
  const shown = [event(9, 5), event(9, 4), event(8, 7)];
  await socket.say(...shown.map((state) => ({ type: "event", event: state })));
  assert.deepEqual(seats.values.map(({ ticket_types }) => ticket_types[0].available), [4]); // the newest of several
  await socket.say({ type: "event", event: event(9, 3) });
  assert.equal(seats.values.at(-1).ticket_types[0].available, 3);
});

test("an entry in a waiting list is watched like a booking", async () => {
  const { holdfast, socket, changes } = await watching();
  const [entry, unknown] = [seen(holdfast.watchWaitingEntry({ id: "w" })), seen(holdfast.watchWaitingEntry("x"))];
  await calm();
  assert.deepEqual(socket.subscribed, ["b", "w", "x"]);
  const waiting = (id, version, status) => ({ waiting_entry: { id, version, status } });
  await socket.say({ type: "snapshot", ...waiting("w", 1, "waiting") });
  await socket.say({ type: "waiting_entry", ...waiting("w", 2, "offered") }, { type: "waiting_entry", ...waiting("w", 2, "waiting") });
  await socket.say({ type: "error", code: "not_found", detail: "Not found", waiting_entry_id: "x" });
  assert.deepEqual(entry.values.map(({ status }) => status), ["waiting", "offered"]);
  assert.deepEqual([entry.ended, unknown.error.code, versions(changes)], [false, "not_found", [3]]);
});

test("after a reconnect the snapshot replaces what is known, also with a lower version", async () => {
  const stage = await watching();
  await stage.socket.say(change("b", 8));
  await stage.socket.end(1006);
  const socket = await reconnected(stage);
  assert.deepEqual(socket.subscribed, ["b"]);
  await socket.say(change("b", 2)); // it may come before the snapshot: not newer than what is known
  assert.deepEqual(versions(stage.changes), [3, 8]);
  await socket.say(snapshot("b", 2, { status: "confirmed" }));
  await socket.say(snapshot("b", 1), change("b", 2));
  await socket.say(change("b", 3));
  assert.deepEqual(versions(stage.changes), [3, 8, 2, 3]);
  assert.deepEqual(stage.states.map(({ open }) => open), [true, false, true]);
});

for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4999]) {
  test(`after ${code} it connects again, after pauses that are drawn and grow`, async () => {
    const stage = await watching();
    await stage.socket.end(code);
    assert.deepEqual(stage.states.at(-1), { open: false, code, retryInMs: 250 });
    const second = await reconnected(stage);
    await second.end(code);
    const third = await reconnected(stage);
    await third.end(code);
    assert.deepEqual(stage.states.slice(1).map(({ retryInMs }) => retryInMs), [250, 500, 1000]);
    const fourth = await reconnected(stage);
    await fourth.say(snapshot("b", 4));
    await fourth.end(code); // it was good again: the pauses begin anew
    assert.equal(stage.states.at(-1).retryInMs, 250);
  });
}

test("with too many sockets open it comes back later", async () => {
  const stage = await watching();
  await stage.socket.end(4429);
  assert.deepEqual(stage.states.at(-1), { open: false, code: 4429, retryInMs: 10_250 });
  await stage.clock.pass(10_000);
  assert.equal(stage.sockets.length, 1);
  await stage.clock.pass(250);
  assert.equal(stage.sockets.length, 2);
});

for (const code of [1002, 1003, 1007, 1008, 1009]) {
  test(`${code} means that the client is wrong: those who watch get the error`, async () => {
    const { changes, socket, sockets, clock } = await watching();
    await socket.end(code);
    assert.equal(changes.error.code, "refused");
    await clock.pass(60_000);
    assert.equal(sockets.length, 1);
  });
}

test("a connection that fails is tried again, also where no close says so", async () => {
  const stage = staged({ token: "own" });
  seen(stage.holdfast.watch("b"));
  await calm();
  await stage.sockets[0].fail();
  assert.deepEqual(stage.clock.due, [250]);
  assert.deepEqual((await reconnected(stage)).subscribed, ["b"]);
});

test("a connection that is not open in time is given up, and tried again", async () => {
  const stage = staged({ token: "own" });
  seen(stage.holdfast.watch("b"));
  await stage.clock.pass(15_000);
  assert.equal(stage.sockets[0].closed, true);
  await reconnected(stage);
  assert.deepEqual(stage.sockets[1].subscribed, ["b"]);
});

test("a page that is back asks for the present state, and a socket that does not answer then is another's", async () => {
  const page = new EventTarget();
  const stage = await watching({ page });
  for (const type of ["visibilitychange", "pageshow"]) page.dispatchEvent(new Event(type)); // both at once: one question
  assert.deepEqual(stage.socket.subscribed, ["b", "b"]);
  await stage.socket.say(snapshot("b", 4));
  await stage.clock.pass(6_000);
  assert.deepEqual([stage.sockets.length, versions(stage.changes)], [1, [3, 4]]);
  page.dispatchEvent(new Event("online"));
  await stage.clock.pass(5_000);
  assert.equal(stage.socket.closed, true);
  assert.equal(stage.states.at(-1).code, 1006);
  assert.equal((await reconnected(stage)).subscribed[0], "b");
});

test("a page that is back does not wait for the end of a pause, unless it has too many sockets", async () => {
  for (const [code, sockets] of [[1006, 2], [4429, 1]]) {
    const heard = [];
    const page = new EventTarget();
    const add = page.addEventListener.bind(page);
    page.addEventListener = (type, run, options) => {
      heard.push(options.signal);
      add(type, run, options);
    };
    const stage = await watching({ page });
    await stage.socket.end(code);
    page.dispatchEvent(new Event("online"));
    await calm();
    assert.equal(stage.sockets.length, sockets);
    stage.holdfast.close();
    assert.deepEqual(heard.map(({ aborted }) => aborted), [true, true, true]); // nobody listens any more
  }
});

// --- tokens

test("4401: a guest's token is renewed, and used at once", async () => {
  const clock = new Clock();
  const stage = await watchingGuest(clock);
  stage.answers.push(json(guest(clock, { token: "token-2" })));
  await stage.sockets[0].end(4401);
  await stage.clock.pass(0);
  assert.equal(stage.sockets.length, 2);
  await stage.sockets[1].open();
  assert.deepEqual(stage.sockets[1].sent[0], { type: "auth", token: "token-2" });
  assert.equal(stage.changes.ended, false);
});

async function watchingGuest(clock) {
  const stage = staged({ clock, answers: [json(guest(clock))] });
  await stage.holdfast.guest();
  const changes = seen(stage.holdfast.watch("b"));
  await calm();
  await stage.sockets[0].open();
  await stage.sockets[0].say(snapshot("b", 1));
  return { ...stage, changes };
}

test("4401 with no other token ends the watching: of a text, and of a guest whose token has ended", async () => {
  const stage = await watching();
  await stage.socket.end(4401);
  assert.deepEqual([stage.changes.error.code, stage.changes.error.status], ["unauthorized", 401]);

  const asGuest = await watchingGuest(new Clock());
  asGuest.answers.push(problem(401, "unauthorized"));
  await asGuest.sockets[0].end(4401);
  assert.equal(asGuest.changes.error.code, "unauthorized");
});

test("a new token that is refused, too, ends the watching", async () => {
  let number = 0;
  const stage = await watching({ token: () => `given-${++number}` });
  await stage.socket.end(4401);
  const second = await reconnected(stage);
  assert.equal(second.sent[0].token, "given-2");
  await second.end(4401);
  assert.equal(stage.changes.error.code, "unauthorized");
  assert.equal(stage.sockets.length, 2);
});

test("while nobody answers a renewal it is asked for again", async () => {
  const clock = new Clock();
  const stage = await watchingGuest(clock);
  stage.answers.push(problem(503, "unavailable"), new TypeError("fetch failed"), json(guest(clock, { token: "token-2" })));
  await stage.sockets[0].end(4401);
  await clock.pass(5_000);
  assert.equal(stage.sockets.length, 2);
});

test("an open socket is sent the new token when half of the old one's time is over", async () => {
  const clock = new Clock();
  const stage = await watchingGuest(clock);
  stage.answers.push(() => json(guest(clock, { token: "token-2" })));
  await clock.pass(11 * 3_600_000);
  assert.equal(stage.requests.length, 1);
  await clock.pass(2 * 3_600_000);
  assert.deepEqual(stage.sockets[0].sent.at(-1), { type: "auth", token: "token-2" });
  assert.equal(stage.requests.length, 2);
});

test("without any token those who watch get the error", async () => {
  const stage = staged();
  const changes = seen(stage.holdfast.watch("b"));
  await calm();
  assert.deepEqual([changes.error.code, stage.sockets.length], ["unauthorized", 0]);
});

test("what the function for tokens raises reaches those who watch", async () => {
  const stage = staged({ token: () => Promise.reject(new Error("signed out")) });
  const changes = seen(stage.holdfast.watch("b"));
  await calm();
  assert.equal(changes.error.message, "signed out");
});

// --- refused messages

test("a booking that there is not ends its watching alone", async () => {
  const { holdfast, socket, changes } = await watching();
  const other = seen(holdfast.watch("c"));
  await calm();
  await socket.say({ type: "error", code: "not_found", detail: "Not found", booking_id: "c" });
  assert.ok(other.error instanceof HoldfastError);
  assert.deepEqual([other.error.code, changes.ended], ["not_found", false]);
});

for (const about of [{ booking_id: "c" }, {}]) {
  test(`a subscription that is refused for now is sent again, ${about.booking_id ? "named or" : "also"} unnamed`, async () => {
    const { holdfast, socket, clock } = await watching();
    const other = seen(holdfast.watch("c"));
    await calm();
    await socket.say({ type: "error", code: "too_many_requests", detail: "Wait", retry_after: 2, ...about });
    await clock.pass(2_249);
    assert.deepEqual(socket.subscribed, ["b", "c"]);
    await clock.pass(1);
    assert.deepEqual(socket.subscribed, ["b", "c", "c"]); // "b" was answered
    await socket.say(snapshot("c", 1));
    assert.deepEqual(versions(other), [1]);
  });
}

test("what this client does not know is ignored", async () => {
  const { socket, changes } = await watching();
  socket.onmessage({ data: "no JSON" });
  await socket.say({ type: "of_a_later_release" }, null, 1, { type: "booking" }, { type: "snapshot" });
  await socket.say({ type: "error", code: "of_a_later_release", detail: "" }, { ...change("b", 4), more: 1 });
  assert.deepEqual(versions(changes), [3, 4]);
});

// --- waiting, and the end

test("the queue position is part of the booking", async () => {
  const { socket, changes } = await watching();
  await socket.say({ type: "queue", booking_id: "b", queue_position: 41 });
  await socket.say({ type: "queue", booking_id: "b", queue_position: 7 }, { type: "queue", booking_id: "c", queue_position: 1 });
  assert.deepEqual(changes.values.map(({ payment }) => payment.queue_position), [undefined, 41, 7]);
  assert.deepEqual(versions(changes), [3, 3, 3]);
});

test("waiting ends with the first state that is wanted, and needs no socket where it is there", async () => {
  const { holdfast, socket, sockets } = await watching();
  const found = outcome(holdfast.waitUntil("b", isDecided));
  await calm();
  await socket.say(change("b", 4));
  assert.equal(found.done, false);
  await socket.say(change("b", 5, { status: "confirmed" }));
  assert.equal(found.value.version, 5);
  assert.equal((await holdfast.waitUntil(booking("x", 1), isPayable)).id, "x");
  assert.deepEqual([sockets.length, socket.subscribed], [1, ["b"]]);
});

test("a loop that is left unsubscribes, and some seconds later the socket is closed", async () => {
  const { holdfast, sockets, clock } = staged({ token: "own" });
  const found = outcome(holdfast.waitUntil("b", () => true));
  await calm();
  const [socket] = sockets;
  await socket.open();
  await socket.say(snapshot("b", 1));
  assert.equal(found.done, true);
  assert.deepEqual(socket.sent.at(-1), { type: "unsubscribe", booking_id: "b" });
  await clock.pass(4_999);
  assert.equal(socket.closed, false);
  await clock.pass(1);
  assert.deepEqual([socket.closed, clock.due], [true, []]);
  seen(holdfast.watch("b"));
  await calm();
  assert.equal(sockets.length, 2);
});

test("who watches again within these seconds has the same socket", async () => {
  const { holdfast, sockets, clock } = staged({ token: "own" });
  outcome(holdfast.waitUntil("b", () => true));
  await calm();
  await sockets[0].open();
  await sockets[0].say(snapshot("b", 1));
  const changes = seen(holdfast.watch("b"));
  await clock.pass(20_000);
  await sockets[0].say(snapshot("b", 2));
  assert.deepEqual([sockets.length, sockets[0].closed, versions(changes)], [1, false, [2]]);
});

test("watching is aborted: before the socket is open, and while nothing comes", async () => {
  for (const open of [false, true]) {
    const abort = new AbortController();
    const stage = staged({ token: "own" });
    const changes = seen(stage.holdfast.watch("b", { signal: abort.signal }));
    await calm();
    if (open) await stage.sockets[0].open();
    abort.abort(new Error("the page is left"));
    await calm();
    assert.equal(changes.error.message, "the page is left");
    await stage.clock.pass(5_000);
    assert.deepEqual([stage.sockets[0].closed, stage.clock.due], [true, []]);
  }
});

test("closing ends all loops, and the pause before another try", async () => {
  const stage = await watching();
  const waiting = outcome(stage.holdfast.waitUntil("b", isDecided));
  await stage.socket.end(1013);
  stage.holdfast.close();
  await calm();
  assert.deepEqual([stage.changes.ended, stage.changes.error], [true, undefined]);
  assert.equal(waiting.error.code, "closed");
  assert.deepEqual(stage.clock.due, []);
  await stage.clock.pass(60_000);
  assert.equal(stage.sockets.length, 1);
});
