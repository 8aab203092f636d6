import { Holdfast, isDecided, isPayable } from "http://127.0.0.1:8080/holdfast.js";

const $ = (id) => document.getElementById(id);
const holdfast = new Holdfast({ storage: localStorage });
await holdfast.guest().catch(async (error) => {
  if (error.code !== "unauthorized") throw error;
  await holdfast.forgetGuest(); // the token has ended, and there is no recovery code
  await holdfast.guest();
});
const [event] = (await holdfast.events({ on_sale: true, limit: 1 })).items;
$("event").textContent = event.name;

$("book").onsubmit = async (submit) => {
  submit.preventDefault();
  try {
    const customer = { ...Object.fromEntries(new FormData($("book"))), locale: navigator.language };
    const items = [{ ticket_type_id: event.ticket_types[0].id, quantity: 1 }];
    const held = await holdfast.book({ event_id: event.id, items, customer });
    show(held);
    const booking = await holdfast.waitUntil(held, (now) => isPayable(now) || isDecided(now));
    if (isPayable(booking)) await pay(await holdfast.paymentIntent(booking.id));
  } catch (error) {
    $("status").textContent = error.code === "sold_out" ? "Sold out" : error.message;
  }
};
async function pay({ booking_id, publishable_key, client_secret }) {
  const stripe = Stripe(publishable_key);
  const elements = stripe.elements({ clientSecret: client_secret });
  elements.create("payment").mount("#card");
  $("pay").hidden = false;
  $("pay").onsubmit = async (submit) => {
    submit.preventDefault();
    const confirmParams = { return_url: `${location.origin}${location.pathname}?booking=${booking_id}` };
    const { error } = await stripe.confirmPayment({ elements, confirmParams, redirect: "if_required" });
    if (error) $("status").textContent = error.message;
  };
}
async function show(booking) {
  for await (const { status, payment } of holdfast.watch(booking)) {
    $("status").textContent = `${status}, ${payment.queue_position ?? payment.status}`;
  }
}
const left = new URLSearchParams(location.search).get("booking"); // to pay on a page of a bank
if (left) show(left);
