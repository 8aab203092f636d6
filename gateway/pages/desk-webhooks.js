// `/desk/webhooks`: the endpoints of webhooks, what they were sent, and what has failed.

import { admin, can, dialog, facts, failed, named, numbers, openDesk, paged, table, tag } from "./desk.js";
import { check, read, refused, text } from "./desk-fields.js";
import { HERE } from "./desk-rows.js";
import { Incomplete } from "./dialog.js";
import { button, h, notice, say } from "./dom.js";
import { titled } from "./page.js";
import { number, t, when } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */
/** @import { Filled } from "./desk-fields.js" */

const TYPES = /** @type {const} */ ([
  "booking.confirmed", "booking.cancelled", "booking.failed", "booking.refunded", "booking.refund_failed",
  "booking.disputed", "booking.customer_changed", "event.created", "event.changed", "event.cancelled",
]);
const DELIVERIES = 20;

openDesk(async () => {
  if (!can("admin")) return h("div", null, titled(t("desk.webhooks")), notice("warning", t("desk.no_admin.webhooks")));
  const list = h("div.stack");
  const draw = async () => {
    const { items } = await admin.webhookEndpoints();
    list.replaceChildren(...(items.length ? items.map((each) => endpoint(each, draw)) : [h("p.nothing", null, t("desk.webhooks.none"))]));
  };
  await draw();
  return h("div", null,
    h("div.head", null, titled(t("desk.webhooks")), button(t("desk.webhooks.new"), () => create(draw), "primary")),
    list,
  );
});

/** One endpoint, with what can be done with it. @param {Types.WebhookEndpoint} shown @param {() => Promise<void>} again */
function endpoint(shown, again) {
  const said = h("div.said");
  const deliveries = h("div");
  /** @param {() => PromiseLike<unknown>} act */
  const tried = async (act) => {
    said.replaceChildren();
    try {
      await act();
      await again();
      say(t("desk.saved"));
    } catch (error) {
      said.replaceChildren(failed(error));
    }
  };
  const ifMatch = shown.version;
  const off = Boolean(shown.disabled_reason);
  return h("section.card-box", null,
    h("div.line", null, h("h2.ids", null, shown.url), tag(off ? "closed" : shown.failing_since ? "failing" : "open", "webhook")),
    facts([
      [t("desk.webhooks.for"), shown.description],
      [t("desk.webhooks.types"), shown.types ? shown.types.join(", ") : t("desk.webhooks.all")],
      [t("desk.webhooks.off"), shown.disabled_reason && named("webhook_off", shown.disabled_reason)],
      [t("desk.webhooks.failing"), shown.failing_since && when(shown.failing_since, HERE, "short")],
    ]),
    h("div.actions", null,
      button(t(off ? "desk.webhooks.enable" : "desk.webhooks.disable"), () => tried(() => admin.updateWebhookEndpoint(shown.id, { enabled: off }, { ifMatch })), "secondary.small"),
      button(t("desk.webhooks.deliveries"), () => list(shown, deliveries, said), "secondary.small"),
      button(t("desk.webhooks.repeat"), () => tried(() => admin.repeatWebhookDeliveries(shown.id, { since: shown.created_at })), "secondary.small"),
      button(t("desk.webhooks.rotate"), () => dialog({
        title: t("desk.webhooks.rotate"), content: [h("p", null, t("desk.webhooks.rotate.text"))], yes: t("desk.webhooks.rotate"), risky: true,
        act: async () => secret(await admin.rotateWebhookSecret(shown.id, {}, { ifMatch }), again),
      }), "secondary.small"),
      button(t("desk.webhooks.delete"), () => dialog({
        title: t("desk.webhooks.delete.title"), content: [h("p.ids", null, shown.url), h("p", null, t("desk.webhooks.delete.text")), h("p", null, h("strong", null, t("desk.for_good")))],
        yes: t("desk.webhooks.delete"), risky: true,
        act: async () => { await admin.deleteWebhookEndpoint(shown.id, { ifMatch }); await again(); },
      }), "risky.small"),
    ),
    said,
    deliveries,
  );
}

/** @param {Types.WebhookEndpoint} shown @param {any} place @param {any} said */
async function list({ id }, place, said) {
  try {
    const first = await admin.webhookDeliveries(id, { limit: DELIVERIES });
    const columns = [t("desk.made"), t("desk.webhooks.type"), t("desk.booking.status"), numbers(t("desk.webhooks.attempts")), t("desk.webhooks.answer"), ""];
    /** @param {Types.WebhookDelivery} each */
    const row = (each) => [
      when(each.made_at, HERE, "short"), each.type, tag(each.status, "delivery"), number(each.attempts),
      each.error ?? (each.response_status ? `${each.response_status}` : "–"),
      each.status === "failed" ? button(t("desk.webhooks.again"), async () => { await admin.repeatWebhookDelivery(each.id); await list(/** @type {any} */ ({ id }), place, said); }, "secondary.small") : "",
    ];
    place.replaceChildren(first.items.length
      ? paged(first, (cursor) => admin.webhookDeliveries(id, { limit: DELIVERIES, cursor }), table(t("desk.webhooks.deliveries"), columns, [], false), row)
      : h("p.nothing", null, t("desk.webhooks.no_deliveries")));
  } catch (error) {
    said.replaceChildren(failed(error));
  }
}

/** Shows a new secret, once. @param {Types.SecretWebhookEndpoint} made @param {() => Promise<void>} again */
async function secret(made, again) {
  await again();
  if (!made.secret) return;
  const key = made.secret;
  dialog({
    title: t("desk.webhooks.secret"),
    content: [h("p", null, t("desk.webhooks.secret.text")), h("p.recovery-code", null, key)],
    yes: t("desk.webhooks.copy"),
    act: () => navigator.clipboard?.writeText(key),
  });
}

/** @param {() => Promise<void>} again */
function create(again) {
  /** @type {Map<string, Filled>} */
  const fields = new Map([
    ["url", text("URL", { type: "url", required: true, placeholder: "https://" })],
    ["description", text(t("desk.webhooks.for"), { maxlength: 200 })],
  ]);
  const types = TYPES.map((type) => ({ type, field: check(type) }));
  dialog({
    title: t("desk.webhooks.new"),
    content: [[...fields.values()].map((each) => each.element), h("fieldset.choices", null, h("legend", null, t("desk.webhooks.types.hint")), types.map(({ field }) => field.element))],
    yes: t("desk.save"),
    act: async () => {
      const values = read(fields);
      if (!values) throw new Incomplete(t("desk.incomplete"));
      const chosen = types.filter(({ field }) => field.value()).map(({ type }) => type);
      try {
        const made = await admin.createWebhookEndpoint({ url: values.url, ...(values.description && { description: values.description }), ...(chosen.length && { types: chosen }) });
        await secret(made, again);
      } catch (error) {
        throw refused(error, ([name]) => fields.get(`${name}`)) ? new Incomplete(t("desk.incomplete")) : error;
      }
    },
  });
}
