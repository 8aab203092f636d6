// Buys a ticket with openapi-fetch and the types that openapi-typescript has made. What is printed: see buy.py.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";
import { line, operatorsToken, there, url } from "./line.js";

type Schemas = components["schemas"];

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const key = () => ({ "Idempotency-Key": crypto.randomUUID() });

// Bodies with what must be there, and nothing more.
const evening: Schemas["NewEvent"] = {
  name: "Generated in TypeScript",
  starts_at: "2090-05-01T19:30:00Z",
  currency: "eur",
  ticket_types: [{ name: "Row", unit_amount: 4500, capacity: 10 }],
};
const nothing: Schemas["EventPatch"] = {};
const everything: Schemas["NewRefund"] = {};
const subscription: Schemas["Subscription"] = { type: "subscribe", booking_id: crypto.randomUUID() };
void [nothing, everything, subscription];

const anybody = createClient<paths>({ baseUrl: url });
const operator = createClient<paths>({ baseUrl: url, headers: bearer(operatorsToken) });
const made = await operator.POST("/admin/events", { params: { header: key() }, body: evening });
const id = there(made.data, made.error).id;
const read = await anybody.GET("/events/{id}", { params: { path: { id } } });
const event = there(read.data, read.error);

const token = there((await anybody.POST("/auth/guest")).data, "no token").token;
const customer = createClient<paths>({ baseUrl: url, headers: bearer(token) });
const items = [{ ticket_type_id: event.ticket_types[0]!.id, quantity: 2 }];
const dearer = await customer.POST("/bookings", {
  params: { header: key() },
  body: { event_id: id, items, expected_amount: 8000 },
});
if (dearer.error?.code !== "price_changed" || dearer.error.amount !== 9000) throw new Error("price");
const booked = await customer.POST("/bookings", { params: { header: key() }, body: { event_id: id, items } });
const booking = there(booked.data, booked.error);
if (booking.kind === "queued") throw new Error("not waited for");
const secret: string | null | undefined = booking.payment.client_secret;
if (!secret) throw new Error("nothing to pay with");
console.log(JSON.stringify({ token, booking }));

await line();
const paid = await customer.GET("/bookings/{id}", { params: { path: { id: booking.id } } });
const now = there(paid.data, paid.error);
console.log(JSON.stringify({ status: now.status, payment: now.payment.status }));
