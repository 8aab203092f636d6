// Buys a ticket on the local stack (`make up`), and pays as Stripe.js does, at the stand-in for Stripe:
//   node --experimental-websocket clients/js/examples/buy.mjs
// (Node.js 22 and newer have a WebSocket without that option.)
import { Holdfast, isDecided, isPayable } from "../holdfast.js";

const [gateway = "http://127.0.0.1:8080", stripe = "http://127.0.0.1:12111"] = process.argv.slice(2);
const holdfast = new Holdfast({ url: gateway });
await holdfast.guest();

const [event] = (await holdfast.events({ on_sale: true })).items;
const items = [{ ticket_type_id: event.ticket_types[0].id, quantity: 2 }];
const customer = { name: "Ada Lovelace", email: "ada@example.com", locale: "en" };
const held = await holdfast.book({ event_id: event.id, items, customer });
console.log("booked:", held.id, held.amount, held.currency);

const booking = await holdfast.waitUntil(held, (now) => isPayable(now) || isDecided(now));
if (isPayable(booking)) {
  const { payment_intent_id, publishable_key, client_secret } = await holdfast.paymentIntent(booking.id);
  const form = new URLSearchParams({ client_secret, payment_method: "pm_card_visa", use_stripe_sdk: "true" });
  const answer = await fetch(`${stripe}/v1/payment_intents/${payment_intent_id}/confirm`, {
    method: "POST",
    headers: { Authorization: `Bearer ${publishable_key}` },
    body: form,
  });
  console.log("paid:", (await answer.json()).status);
}
for await (const now of holdfast.watch(booking)) {
  console.log("booking:", now.status, now.payment.status);
  if (isDecided(now)) break;
}
holdfast.close();
