// Does with holdfast.js what a test asks for, line by line: `driver.mjs '{"url": …, "tokens": […]}'`.
//
// {"number": 1, "method": "book", "arguments": […]} is answered with {"number": 1, "result": …} or with "error";
// {"number": 2, "watch": id} with each state that comes, until an error.
// {"number": 3, "later": ms} moves the client's clock on.
// A file is sent as {"base64": …} and answered as the text that it has.
import { createInterface } from "node:readline";

import { Holdfast } from "../../../clients/js/holdfast.js";

const { url, tokens } = JSON.parse(process.argv[2]);
let laterMs = 0;
const clock = {
  now: () => Date.now() + laterMs,
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};
const holdfast = new Holdfast({ url, clock, token: tokens && (() => tokens.shift()) });

const say = (number, answer) => console.log(JSON.stringify({ number, ...answer }));

async function perform({ number, method, arguments: given = [], watch, later }) {
  try {
    if (watch !== undefined) {
      for await (const state of holdfast.watch(watch)) say(number, { result: state });
    } else if (later !== undefined) {
      laterMs += later;
      say(number, { result: null });
    } else {
      const owner = method.startsWith("admin.") ? holdfast.admin : holdfast;
      const result = await owner[method.replace("admin.", "")](...given);
      say(number, { result: (result instanceof Blob ? await result.text() : result) ?? null });
    }
  } catch (error) {
    say(number, { error: { code: error.code ?? String(error), status: error.status ?? 0 } });
  }
}

const revived = (_, value) => (value?.base64 ? new Blob([Buffer.from(value.base64, "base64")]) : value);
for await (const line of createInterface({ input: process.stdin })) perform(JSON.parse(line, revived));
process.exit();
