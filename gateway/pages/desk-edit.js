// `/desk/events/new` and `/desk/events/{id}/edit`: the terms and the content of an event.

import { admin, can, currencies, failed, inPath, named, openDesk } from "./desk.js";
import { amount, amountText, check, isZone, localOf, read, refused, select, text, time, whole } from "./desk-fields.js";
import { busy, button, field, h, notice, say } from "./dom.js";
import { HoldfastError } from "./holdfast.js";
import { titled } from "./page.js";
import { language, number, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */
/** @import { Filled } from "./desk-fields.js" */

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;
/** Three weeks from now at eight, for a new event. */
const SOON_MS = 21 * 24 * 3_600_000;
const TIMES = ["starts_at", "sales_start", "sales_end", "cancel_until", "slow_payments_until"];
const VENUE = ["name", "address", "postal_code", "city", "country"];
const IMAGES = "image/png,image/jpeg,image/webp";

openDesk(async () => {
  const isNew = inPath(3) === "new";
  const model = isNew ? new URLSearchParams(location.search).get("copy") : inPath(3);
  const event = model ? await admin.event(model) : null;
  if (!can("admin")) return h("div", null, titled(t("desk.edit")), notice("warning", t("desk.no_admin")));
  const form = new EventForm(isNew ? null : event);
  form.fill(event && isNew ? copied(event) : event);
  return h("div", null,
    h("div.head", null, titled(event && !isNew ? event.name : t(event ? "desk.duplicate" : "desk.new_event"))),
    form.element,
  );
});

/** What another event like this one begins with. @param {Types.OperatorsEventDetails} event */
function copied(event) {
  const empty = { sales_start: null, sales_end: null, cancel_until: null, slow_payments_until: null, called_off_at: null };
  return { ...event, ...empty, name: t("desk.copy_of", { name: event.name }), starts_at: "", on_sale: true, status: /** @type {const} */ ("draft"), image: null };
}

/** One ticket type: its fields, and its id where it exists. */
class TypeRow {
  /** @param {string | null} id @param {() => number} decimals @param {(row: TypeRow) => void} remove */
  constructor(id, decimals, remove) {
    this.id = id;
    /** @type {Map<string, Filled>} */
    this.fields = new Map([
      ["name", text(t("desk.type.name"), { required: true, maxlength: 200 })],
      ["unit_amount", amount(t("desk.type.price"), decimals, { required: true })],
      ["capacity", whole(t("desk.type.capacity"), { required: true })],
      ["hidden", check(t("desk.type.hidden"), t("desk.type.hidden.hint"))],
    ]);
    this.element = h("div.type-row", { role: "group", "aria-label": t("desk.type") },
      [...this.fields.values()].map((each) => each.element),
      !id && button(t("desk.type.remove"), () => remove(this), "quiet"),
    );
  }
}

class EventForm {
  #said = h("div.said");
  #rows = h("div");
  /** @type {TypeRow[]} */
  #types = [];
  /** What was in the fields when they were filled, by which is told what has changed. @type {Map<Filled, string>} */
  #base = new Map();
  #decimals = 2;
  /** The types in the order in which they were sent last. @type {TypeRow[]} */
  #sent = [];
  #image = field(t("desk.image"), { type: "file", accept: IMAGES }, t("desk.image.hint"));
  #shownImage = h("div");
  #preview = h("div.prose", { hidden: true, tabindex: -1, "aria-label": t("desk.preview") });

  /** @param {Types.OperatorsEventDetails | null} event The event that is changed; null: a new one */
  constructor(event) {
    this.event = event;
    const zone = () => (isZone(this.fields.get("time_zone")?.raw() ?? "") ? this.fields.get("time_zone")?.raw() ?? "UTC" : "UTC");
    const zones = h("datalist", { id: "zones" }, Intl.supportedValuesOf("timeZone").map((each) => h("option", { value: each })));
    const regions = new Intl.DisplayNames([language], { type: "region" });
    /** @type {Map<string, Filled>} */
    this.fields = new Map([
      ["name", text(t("desk.field.name"), { required: true, maxlength: 200 })],
      ["category", text(t("desk.field.category"), { maxlength: 100 }, t("desk.field.category.hint"))],
      ["description", text(t("desk.field.description"), { rows: 8 }, t("desk.field.description.hint"), "textarea")],
      ["starts_at", time(t("desk.field.starts_at"), zone, { required: true }, t("desk.field.starts_at.hint"))],
      ["time_zone", text(t("desk.field.time_zone"), { list: "zones", required: true })],
      ...VENUE.map((each) => /** @type {[string, Filled]} */ ([`venue.${each}`, text(t(`desk.venue.${each}`), { maxlength: each === "country" ? 2 : 200 }, each === "country" ? t("desk.venue.country.hint", { example: regions.of("DE") ?? "" }) : undefined)])),
      ["currency", select(t("desk.field.currency"), Object.keys(currencies).map((each) => [each, each.toUpperCase()]))],
      ["max_per_booking", whole(t("desk.field.max_per_booking"), { required: true })],
      ["max_per_owner", whole(t("desk.field.max_per_owner"), {}, t("desk.field.max_per_owner.hint"))],
      ["sales_start", time(t("desk.field.sales_start"), zone, {}, t("desk.field.sales_start.hint"))],
      ["sales_end", time(t("desk.field.sales_end"), zone, {}, t("desk.field.sales_end.hint"))],
      ["cancel_until", time(t("desk.field.cancel_until"), zone, {}, t("desk.field.cancel_until.hint"))],
      ["payment_methods", select(t("desk.field.payment_methods"), [["instant", t("desk.methods.instant")], ["all", t("desk.methods.all")]], t("desk.field.payment_methods.hint"))],
      ["slow_payments_until", time(t("desk.field.slow_payments_until"), zone, {}, t("desk.field.slow_payments_until.hint"))],
      ["sell_after_start", check(t("desk.field.sell_after_start"))],
      ["cancel_after_start", check(t("desk.field.cancel_after_start"))],
    ]);
    this.fields.get("description")?.element.classList.add("full");
    this.fields.get("currency")?.input.addEventListener("change", () => this.#currencyChosen());
    if (event) this.fields.delete("currency"); // it stays what it was
    const shown = (/** @type {string[]} */ ...names) => h("div.fields", null, names.map((each) => this.fields.get(each)?.element));
    const save = h("button.button.primary", { type: "submit" }, t(event ? "desk.save" : "desk.create_draft"));
    const publish = event ? null : button(t("desk.create_published"), () => this.#save("published"));
    this.element = h("form.form", { novalidate: true, onsubmit: (/** @type {Event} */ each) => { each.preventDefault(); busy(save, () => this.#save("draft")); } },
      zones,
      h("fieldset", null, h("legend", null, t("desk.section.what")),
        shown("name", "category", "description"),
        h("div.actions", null, button(t("desk.preview"), () => this.#showPreview(), "secondary.small")),
        this.#preview),
      h("fieldset", null, h("legend", null, t("desk.section.when")), shown("starts_at", "time_zone")),
      h("fieldset", null, h("legend", null, t("desk.section.tickets")),
        shown("currency"),
        this.#rows,
        h("div.actions", null, button(t("desk.type.add"), () => this.#add().fields.get("name")?.input.focus(), "secondary.small"))),
      h("fieldset", null, h("legend", null, t("desk.section.where")), shown(...VENUE.map((each) => `venue.${each}`))),
      h("fieldset", null, h("legend", null, t("desk.section.image")), this.#shownImage, h("div.fields", null, this.#image.element)),
      h("details", null, h("summary", null, t("desk.section.sale")),
        shown("sales_start", "sales_end", "cancel_until", "max_per_booking", "max_per_owner", "payment_methods", "slow_payments_until", "sell_after_start", "cancel_after_start")),
      h("div.bar-below", null, this.#said, save, publish, h("a.button.secondary", { href: event ? `/desk/events/${event.id}` : "/desk/events" }, t("desk.back"))),
    );
    this.#image.input.addEventListener("change", () => this.#showImage());
  }

  /** Fills in an event, or what a new one begins with. @param {Types.OperatorsEventDetails | null} event */
  fill(event) {
    const zone = event?.time_zone ?? HERE;
    const start = event?.starts_at || `${localOf(Date.now() + SOON_MS, zone).slice(0, 10)}T20:00`;
    this.fields.get("time_zone")?.fill(zone);
    this.#decimals = event?.currency_exponent ?? 2;
    /** @type {Record<string, any>} */
    const values = { currency: "eur", max_per_booking: 10, payment_methods: "instant", ...event, time_zone: zone, starts_at: null };
    for (const [name, each] of this.fields) each.fill(name.startsWith("venue.") ? values.venue?.[name.slice(6)] : values[name]);
    if (event?.starts_at) this.fields.get("starts_at")?.fill(event.starts_at);
    else /** @type {Filled} */ (this.fields.get("starts_at")).input.value = start;
    for (const type of event?.ticket_types ?? []) {
      const row = this.#add(this.event ? type.id : null);
      for (const [name, each] of row.fields) each.fill(/** @type {any} */ (type)[name]);
    }
    if (!this.#types.length) this.#add();
    this.#noteBase();
    if (event?.image) this.#shownImage.replaceChildren(h("p.small", null, t("desk.image.is", { width: number(event.image.width), height: number(event.image.height) }), " ", button(t("desk.image.remove"), () => this.#removeImage(), "quiet")));
  }

  #currencyChosen() {
    const chosen = currencies[this.fields.get("currency")?.raw() ?? ""] ?? 2;
    for (const { fields } of this.#types) {
      const price = /** @type {Filled} */ (fields.get("unit_amount"));
      const [main] = price.raw().split(/[.,]/);
      if (chosen < this.#decimals && /^\d+$/.test(main)) price.input.value = amountText(Number(main) * 10 ** chosen, chosen);
    }
    this.#decimals = chosen;
  }

  /** @param {string | null} [id] */
  #add(id = null) {
    const row = new TypeRow(id, () => this.#decimals, (gone) => {
      gone.element.remove();
      this.#types = this.#types.filter((each) => each !== gone);
    });
    this.#types.push(row);
    this.#rows.append(row.element);
    return row;
  }

  #all() {
    return [...this.fields.values(), ...this.#types.flatMap(({ fields }) => [...fields.values()])];
  }

  #noteBase() {
    this.#base = new Map(this.#all().map((each) => [each, each.raw()]));
  }

  /** @param {Filled | undefined} each */
  #changed(each) {
    return each !== undefined && each.raw() !== this.#base.get(each);
  }

  async #showPreview() {
    const description = this.fields.get("description");
    try {
      const answer = await admin.previewDescription(description?.raw() ?? "");
      this.#preview.innerHTML = answer.description_html; // the gateway has made it safe
      this.#preview.hidden = false;
      this.#preview.focus();
    } catch (error) {
      if (!refused(error, () => description)) this.#said.replaceChildren(failed(error));
    }
  }

  #showImage() {
    const [file] = this.#image.input.files;
    if (!file) return this.#shownImage.replaceChildren();
    const src = URL.createObjectURL(file);
    this.#shownImage.replaceChildren(h("img.picture", { src, alt: t("desk.image.chosen"), onload: () => URL.revokeObjectURL(src) }));
  }

  async #removeImage() {
    if (!this.event) return;
    try {
      const now = await admin.deleteEventImage(this.event.id, { ifMatch: this.event.terms_version ?? undefined });
      this.event = { ...this.event, terms_version: now.terms_version };
      this.#shownImage.replaceChildren();
      say(t("desk.image.removed"));
    } catch (error) {
      await this.#tell(error);
    }
  }

  /** @param {"draft" | "published"} status Of a new event */
  async #save(status) {
    this.#said.replaceChildren();
    const rows = this.#types.flatMap((row, place) => [...row.fields].map(([name, each]) => /** @type {[string, Filled]} */ ([`${place} ${name}`, each])));
    const all = read(new Map([...this.fields, ...rows]));
    if (!all) return say(t("desk.incomplete"));
    const values = Object.fromEntries([...this.fields.keys()].map((name) => [name, all[name]]));
    const types = this.#types.map((row, place) => ({ row, values: Object.fromEntries([...row.fields.keys()].map((name) => [name, all[`${place} ${name}`]])) }));
    try {
      const saved = this.event ? await this.#update(this.event, values, types) : await this.#create(values, types, status);
      const [file] = this.#image.input.files;
      if (file) await this.#sendImage(saved, file);
      location.assign(`/desk/events/${saved.id}`);
    } catch (error) {
      await this.#tell(error);
    }
  }

  /** @param {Record<string, any>} values @param {{ row: TypeRow, values: any }[]} types @param {"draft" | "published"} status */
  async #create(values, types, status) {
    this.#sent = types.map(({ row }) => row);
    const body = /** @type {any} */ ({ ...withVenue(values), status, ticket_types: types.map((each) => each.values) });
    for (const [name, value] of Object.entries(body)) if (value === null) delete body[name];
    const made = await admin.createEvent(body);
    // From here on it is an event that exists: another try does not make a second one.
    this.event = await admin.event(made.id);
    history.replaceState(null, "", `/desk/events/${made.id}/edit`);
    types.forEach(({ row }, place) => { row.id = made.ticket_types[place].id; });
    this.fields.delete("currency");
    this.#noteBase();
    return made;
  }

  /** Sends what has changed. @param {Types.OperatorsEvent} event @param {Record<string, any>} values @param {{ row: TypeRow, values: any }[]} types */
  async #update(event, values, types) {
    const zoned = this.#changed(this.fields.get("time_zone"));
    /** @param {string} name */
    const isSent = (name) => this.#changed(this.fields.get(name)) || (zoned && TIMES.includes(name) && values[name] !== null);
    const venue = VENUE.some((each) => this.#changed(this.fields.get(`venue.${each}`)));
    const complete = /** @type {Record<string, any>} */ (withVenue(values));
    const changes = Object.fromEntries(Object.entries(complete).filter(([name]) => (name === "venue" ? venue : isSent(name))));
    const changed = types.filter(({ row }) => !row.id || [...row.fields.values()].some((each) => this.#changed(each)));
    this.#sent = changed.map(({ row }) => row);
    if (changed.length) {
      changes.ticket_types = changed.map(({ row, values }) => (row.id
        ? { id: row.id, ...Object.fromEntries([...row.fields].filter(([, each]) => this.#changed(each)).map(([name]) => [name, values[name]])) }
        : values));
    }
    if (!Object.keys(changes).length) return event;
    const saved = await admin.updateEvent(event.id, changes, { ifMatch: event.terms_version ?? undefined });
    this.event = await admin.event(saved.id);
    this.#noteBase();
    return saved;
  }

  /** @param {Types.Event} event @param {Blob} file */
  async #sendImage({ id, terms_version }, file) {
    try {
      await admin.setEventImage(id, file, { ifMatch: terms_version ?? undefined });
    } catch (error) {
      if (error instanceof HoldfastError && error.final) this.#image.show(error.problem?.detail ?? error.message);
      throw error;
    }
  }

  /** @param {unknown} error */
  async #tell(error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === "precondition_failed") return this.#merge();
    const shown = refused(error, (loc) => this.#fieldAt(loc));
    if (shown) say(t("desk.incomplete"));
    else this.#said.replaceChildren(failed(error));
  }

  /** The field of a value of the body. @param {(string | number)[]} loc */
  #fieldAt([name, at, of]) {
    if (name === "ticket_types" && typeof at === "number") return this.#sent[at]?.fields.get(`${of ?? "name"}`);
    return this.fields.get(name === "venue" ? `venue.${at ?? "name"}` : `${name}`);
  }

  /**
   * Somebody else has changed the event since it was read. What they changed and this form did not is taken over;
   * where both did, what is filled in here stays and theirs is told, so that a person decides. Nothing is saved.
   */
  async #merge() {
    if (!this.event) return;
    const before = this.event;
    const [now, history] = await Promise.all([admin.event(before.id), changesSince(before)]);
    const other = new EventForm(now);
    other.fill(now);
    let both = 0;
    /** @param {Map<string, Filled>} mine @param {Map<string, Filled>} theirs */
    const take = (mine, theirs) => {
      for (const [name, each] of mine) {
        const at = /** @type {Filled} */ (theirs.get(name));
        if (at.raw() === this.#base.get(each)) continue;
        if (!this.#changed(each) || each.raw() === at.raw()) each.fill(at.value());
        else {
          each.show(t("desk.meanwhile", { value: at.raw() || "–" }));
          both++;
        }
        this.#base.set(each, at.raw());
      }
    };
    take(this.fields, other.fields);
    for (const row of other.#types) {
      const mine = this.#types.find((each) => each.id === row.id) ?? this.#add(row.id);
      take(mine.fields, row.fields);
    }
    this.event = now;
    const who = history.map((each) => t("desk.conflict.change", { by: each.by ?? t("desk.somebody"), fields: (each.changes ?? []).map(({ field }) => named("change", field)).join(", ") }));
    this.#said.replaceChildren(notice("warning", t("desk.conflict"), h("ul", null, who.map((each) => h("li", null, each))), t(both ? "desk.conflict.both" : "desk.conflict.taken")));
  }
}

/** The values with the venue as the API has it. @param {Record<string, any>} values */
function withVenue(values) {
  const entries = Object.entries(values).filter(([name]) => !name.startsWith("venue."));
  const parts = VENUE.map((each) => [each, values[`venue.${each}`]]);
  const venue = parts.some(([, value]) => value !== null) ? Object.fromEntries(parts.filter(([name, value]) => value !== null || name === "name").map(([name, value]) => [name, value ?? ""])) : null;
  return { ...Object.fromEntries(entries), venue };
}

/** @param {Types.OperatorsEvent} event */
async function changesSince(event) {
  const changes = [];
  for await (const each of admin.eventHistory(event.id)) if (each.version > (event.terms_version ?? 0)) changes.push(each);
  return changes;
}
