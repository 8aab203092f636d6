// Written by `make docs`, from the OpenAPI document.

/** RFC 3339, in UTC. */
export type Time = string;
/** Where a time is sent: a text or a Date. */
export type TimeLike = string | Date;

/** One page of any list. */
export interface Page<T> {
  items: T[];
  next_cursor?: string | null;
}

/** Of lists without further parameters. */
export interface PageQuery {
  limit?: number;
  cursor?: string;
}

/** What an operation answers; anything where it is of a later release. */
export type Answer<Operation extends string> = Operation extends keyof Answers ? Answers[Operation] : any;
/** What a page of an operation's list contains. */
export type Listed<Operation extends string> = Answer<Operation> extends Page<infer T> ? T : any;

/** What needs a person now: an item for each reason, and none where all is well. Of the parts in `missing` there may be items that are not here. */
export interface Attention {
  /** When it was so, by the server's clock */
  at: Time;
  /** What needs a person, money first */
  items: AttentionItem[];
  /** Who has not answered; empty: nothing is missing */
  missing: PartOfAttention[];
}

/** One of what needs a person. */
export interface AttentionExample {
  /** The id of what it is: of the booking, the mail or the endpoint, at Stripe of the dispute or the intent, or in Redis of the dead letter */
  id: string;
  /** The booking that it is about; null: of none */
  booking_id?: string | null;
  /** What customers call that booking */
  reference?: string | null;
  /** The booking's event, where that is known here */
  event_id?: string | null;
  /** The money in question, in the currency's minor unit */
  amount?: number | null;
  /** By ISO 4217, in lower case; null where it is not known */
  currency?: string | null;
  /** Since when it is so; of a booking, when it changed last */
  since: Time;
  /** More about it in a few words, in English; nothing about a person */
  text: string;
}

/** All that needs a person for the same reason. */
export interface AttentionItem {
  kind: KindOfAttention;
  /** Of dead letters, the mailbox that they came from */
  mailbox?: string | null;
  /** How many there are; 10000 where there are as many or more */
  count: number;
  /** Since when the oldest is there */
  since: Time;
  /** What to do next, in English */
  to_do: string;
  /** The oldest, at most 20 */
  examples: AttentionExample[];
}

/** One customer's seats at one event, from the request to its end. */
export interface Booking {
  /** Its id, the same for the same owner and Idempotency-Key */
  id: string;
  /** The subject of the token that made it */
  owner?: string | null;
  /** The event */
  event_id: string;
  /** How many seats of which ticket types */
  items: Item[];
  /** What is paid, with the discount taken off, in the currency's minor unit */
  amount: number;
  /** What the promo code takes off all seats, in the currency's minor unit */
  discount?: number;
  /** The promo code, as the customer wrote it; null: booked without */
  code?: string | null;
  /** By ISO 4217, in lower case */
  currency: string;
  /** How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the main unit. Null for a currency that Stripe does not list (any more) */
  currency_exponent?: number | null;
  status: BookingStatus;
  /** Why it is not, or no longer, confirmed */
  reason?: BookingReason | null;
  payment: PaymentSummary;
  /** Grows by one with each change: what clients order by */
  version: number;
  /** Until when the seats are held, while the booking is pending */
  expires_at?: Time | null;
  /** The last moment of the hold: time to try again after a decline ends there. Null until the payment can be made */
  hold_until?: Time | null;
  /** Of a pending booking: what it will be cancelled for as soon as Stripe has canceled its intent */
  closing?: BookingReason | null;
  /** When it was made */
  created_at: Time;
  /** When `version` grew last */
  updated_at: Time;
  /** Whom it is for; null: nobody has said, or it was erased since */
  customer?: Customer | null;
  /** Which shape this is, beside `queued` */
  kind: "booking";
  /** By what people name the booking to each other. It follows from the id; another booking may have the same */
  reference: string;
}

/** A page of a list: each item is a `Booking`. */
export interface BookingPage {
  /** What is on this page, in the order of the list */
  items: Booking[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Why a booking is not, or no longer, confirmed, or what it will be cancelled for. Open: values may be added */
export type BookingReason = KnownBookingReason | (string & {});

/** Where a booking is in its life: seats are held while it is pending, and sold once it is confirmed. */
export type BookingStatus = "pending" | "confirmed" | "cancelled" | "failed";

/** The tickets of a booking, with all that a page to print them needs. */
export interface BookingTickets {
  /** The booking */
  booking_id: string;
  /** What people say, read and type for it */
  reference: string;
  /** The name of whom it is for; null where it was not given, or is erased */
  holder?: string | null;
  status: BookingStatus;
  event: TicketEvent;
  /** All seats of the booking */
  seats: TicketSeats[];
  /** The tickets on this page, in the order of `seats`; none while the booking is not confirmed */
  items: Ticket[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** How seats were paid that operators sold without Stripe; complimentary ones cost nothing. */
export type BoxOfficeMethod = "complimentary" | "cash" | "card_terminal";

/** Somebody was let in by a ticket. */
export interface CheckIn {
  /** Its id, by which it can be undone */
  id: string;
  /** The ticket */
  ticket_id: string;
  /** The ticket's booking */
  booking_id: string;
  /** The event */
  event_id: string;
  /** The ticket type */
  ticket_type_id: string;
  /** Which seat of this ticket type in the booking, counted from 1 */
  number: number;
  /** When, by the scanner's clock where it has told it, and never in the future */
  at: Time;
  /** Where: as the scanner told it */
  gate?: string | null;
  /** By which scanner: as it told it */
  device?: string | null;
  /** The subject of the operator's token */
  by: string;
  /** When it was undone; null: it counts */
  undone_at?: Time | null;
  /** The subject of the operator who undid it */
  undone_by?: string | null;
}

/** What the check-in met. Only `ok` lets somebody in; `used`: somebody was let in by the ticket before; `cancelled`: its booking has ended; `other_event`: it is for another event; `invalid`: there is no such ticket; `undone`: this very check-in was undone since. Open: values may be added */
export type CheckInOutcome = KnownCheckInOutcome | (string & {});

/** What one check-in of a list has met. */
export interface CheckInResult {
  /** The id that the scanner gave it */
  id: string;
  outcome: CheckInOutcome;
  /** The ticket; null where there is none */
  ticket_id?: string | null;
  /** This check-in where it counts; with `used` the one that came first */
  check_in?: CheckIn | null;
}

/** What each check-in of a list has met. */
export interface CheckInResults {
  /** In the order of the list */
  items: CheckInResult[];
}

/** Whom a booking is for, as its client has said. */
export interface Customer {
  /** As people write it */
  name: string;
  /** In ASCII: a domain with other letters is in its `xn--` form */
  email: string;
  /** The language to write in, by BCP 47 */
  locale: string;
  /** By E.164 */
  phone?: string | null;
}

/** How a delivery stands: it waits for an attempt; it was answered with 2xx; it is not attempted any more. */
export type DeliveryStatus = "pending" | "delivered" | "failed";

/** A description as customers will see it. */
export interface DescriptionPreview {
  /** HTML that is safe to insert into a page, as that of events */
  description_html: string;
}

/** A dispute of a booking's charge, in Stripe's words: https://docs.stripe.com/api/disputes/object. */
export interface Dispute {
  /** Stripe's id */
  id: string;
  /** Open or lost ones make the booking's payment `disputed` */
  status: string;
  /** In the currency's minor unit */
  amount?: number | null;
  /** By ISO 4217, in lower case */
  currency?: string | null;
  /** The customer's reason, by Stripe's names */
  reason?: string | null;
  /** When it was opened, by Stripe's clock */
  opened_at?: Time | null;
  /** Until when Stripe takes evidence */
  respond_by?: Time | null;
}

/** What a scanner needs to work, also while it has no network. */
export interface Door {
  event: DoorEvent;
  /** The public keys that check codes */
  keys: SigningKey[];
  /** The event's, in their order */
  ticket_types: DoorTicketType[];
  /** Forget every state known before: the mark is not known here any more, as after a restart of the database, and the changes begin anew */
  reset: boolean;
  /** Tickets whose state has changed since the mark, as they are now, in the order of the changes. A ticket may come again */
  items: DoorTicket[];
  /** Where these changes end: `since` of the next request */
  mark: string;
  /** More changes are there already: ask again at once */
  more: boolean;
}

/** What scanners are told of the event. */
export interface DoorEvent {
  /** The event's id */
  id: string;
  /** Its title */
  name: string;
  /** When it starts */
  starts_at: Time;
  /** When it starts by the venue's clock, with its offset from UTC, as `2030-05-01T21:30:00+02:00` */
  starts_at_local: string;
  /** The venue's, by its IANA name */
  time_zone: string;
  /** Since when it is cancelled, for good */
  called_off_at?: Time | null;
  /** Grows with each change of the event's terms */
  version: number;
}

/** A ticket that is not, or was not, simply valid. */
export interface DoorTicket {
  /** The ticket */
  ticket_id: string;
  state: TicketState;
  /** When somebody was let in by it */
  used_at?: Time | null;
  /** Where that was */
  gate?: string | null;
}

/** How many people a ticket type brings. */
export interface DoorTicketType {
  /** The ticket type */
  id: string;
  /** Its title */
  name: string;
  /** Seats of confirmed bookings */
  sold: number;
  /** How many tickets were used */
  checked_in: number;
}

/** What was erased because somebody asked to be forgotten: the customers of bookings. */
export interface Erasure {
  /** When the operator asked */
  asked_at: Time;
  /** The subject of the operator's token; null where that is not known */
  by?: string | null;
  /** How many bookings have such a customer: erased one after the other */
  bookings: number;
}

/** A performance for which seats are sold. */
export interface Event {
  /** Its id */
  id: string;
  /** Its title */
  name: string;
  /** When it starts */
  starts_at: Time;
  /** The venue's, by its IANA name: times themselves are in UTC */
  time_zone?: string;
  /** By ISO 4217, in lower case */
  currency: string;
  /** How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the main unit. Null for a currency that Stripe does not list (any more) */
  currency_exponent?: number | null;
  /** Whether seats are sold at all: the operators' switch */
  on_sale: boolean;
  /** Before it nothing is sold; null: at once */
  sales_start?: Time | null;
  /** From then on nothing is sold: the start, unless another time was set. Null: no end */
  sales_end?: Time | null;
  /** Whether seats are sold after the start */
  sell_after_start?: boolean;
  /** Whether customers may cancel after the start */
  cancel_after_start?: boolean;
  /** Its ticket types, in their order */
  ticket_types: TicketType[];
  /** The most seats of one booking */
  max_per_booking: number;
  /** How many seats one owner may have, over all bookings; null: as many as this Holdfast allows */
  max_per_owner?: number | null;
  /** Until when customers may cancel a booking that is paid; null: never */
  cancel_until?: Time | null;
  /** Since when it is cancelled, for good */
  called_off_at?: Time | null;
  /** `instant`: methods that answer at once; `all`: also slow ones, whose money takes days to come */
  payment_methods?: PaymentMethods;
  /** With `all`: new bookings from then on are offered instant methods alone; null: from three weeks before the start */
  slow_payments_until?: Time | null;
  /** `draft`: only operators see it; `published`: everybody does; `archived`: it is in no list and is not sold, and everybody may read it by its id */
  status?: EventStatus;
  /** The operator's own label. Missing in changes on the WebSocket: see `content_version` */
  category?: string | null;
  /** Where it takes place. Missing in changes on the WebSocket: see `content_version` */
  venue?: Venue | null;
  /** Its image. Missing in changes on the WebSocket: see `content_version` */
  image?: EventImage | null;
  /** The `terms_version` with which its description, category, venue or image changed last: read it again when this is another. 0: it never had any of them */
  content_version?: number;
  /** Grows with each change, also of how many seats are left */
  version?: number;
  /** Grows with each change of the event and its ticket types, not with its seats: the `ETag` */
  terms_version?: number | null;
}

/** One change of an event. */
export interface EventChange {
  /** The event's `terms_version` from then on */
  version: number;
  what: EventChangeKind;
  /** What has another value since. Null where that is not known: a process of an earlier release made the change, or somebody did by hand */
  changes: FieldChange[] | null;
  /** The subject of the operator's token; null where that is not known */
  by: string | null;
  /** When it happened */
  at: Time;
}

/** What an operator did to an event. Open: values may be added */
export type EventChangeKind = KnownEventChangeKind | (string & {});

/** A page of a list: each item is a `EventChange`. */
export interface EventChangePage {
  /** What is on this page, in the order of the list */
  items: EventChange[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** An event with its description. */
export interface EventDetails {
  /** Its id */
  id: string;
  /** Its title */
  name: string;
  /** When it starts */
  starts_at: Time;
  /** The venue's, by its IANA name: times themselves are in UTC */
  time_zone?: string;
  /** By ISO 4217, in lower case */
  currency: string;
  /** How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the main unit. Null for a currency that Stripe does not list (any more) */
  currency_exponent?: number | null;
  /** Whether seats are sold at all: the operators' switch */
  on_sale: boolean;
  /** Before it nothing is sold; null: at once */
  sales_start?: Time | null;
  /** From then on nothing is sold: the start, unless another time was set. Null: no end */
  sales_end?: Time | null;
  /** Whether seats are sold after the start */
  sell_after_start?: boolean;
  /** Whether customers may cancel after the start */
  cancel_after_start?: boolean;
  /** Its ticket types, in their order */
  ticket_types: TicketType[];
  /** The most seats of one booking */
  max_per_booking: number;
  /** How many seats one owner may have, over all bookings; null: as many as this Holdfast allows */
  max_per_owner?: number | null;
  /** Until when customers may cancel a booking that is paid; null: never */
  cancel_until?: Time | null;
  /** Since when it is cancelled, for good */
  called_off_at?: Time | null;
  /** `instant`: methods that answer at once; `all`: also slow ones, whose money takes days to come */
  payment_methods?: PaymentMethods;
  /** With `all`: new bookings from then on are offered instant methods alone; null: from three weeks before the start */
  slow_payments_until?: Time | null;
  /** `draft`: only operators see it; `published`: everybody does; `archived`: it is in no list and is not sold, and everybody may read it by its id */
  status?: EventStatus;
  /** The operator's own label. Missing in changes on the WebSocket: see `content_version` */
  category?: string | null;
  /** Where it takes place. Missing in changes on the WebSocket: see `content_version` */
  venue?: Venue | null;
  /** Its image. Missing in changes on the WebSocket: see `content_version` */
  image?: EventImage | null;
  /** The `terms_version` with which its description, category, venue or image changed last: read it again when this is another. 0: it never had any of them */
  content_version?: number;
  /** Grows with each change, also of how many seats are left */
  version?: number;
  /** Grows with each change of the event and its ticket types, not with its seats: the `ETag` */
  terms_version?: number | null;
  /** Markdown (CommonMark without HTML and images), at most 20000 characters */
  description?: string | null;
  /** The description as HTML that is safe to insert into a page: paragraphs, headings, lists, emphasis, quotes, code, and links to http, https and mailto. The gateway makes it */
  description_html?: string | null;
}

/** The image of an event, a WebP. */
export interface EventImage {
  /** Where to get it, as a path at the gateway. It changes with the image, which may be cached for ever */
  url: string;
  /** Of its bytes: another one is another image */
  hash: string;
  /** In pixels */
  width: number;
  /** In pixels */
  height: number;
}

/** A page of a list: each item is a `Event`. */
export interface EventPage {
  /** What is on this page, in the order of the list */
  items: Event[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Changes the fields that are sent. A `sales_end` that was not set follows the start when that moves; a date that was set and does not fit the new start is refused, unless the request also sends another. */
export interface EventPatch {
  /** One line with at least one visible character, and no control or bidirectional marks */
  name?: string;
  /** If it changes: in the future */
  starts_at?: TimeLike;
  /** The venue's, by its IANA name */
  time_zone?: string;
  /** Whether seats are sold at all: the operators' switch */
  on_sale?: boolean;
  /** null: immediately */
  sales_start?: TimeLike | null;
  /** From then on no seats are sold. Null: the start, even if it changes; with `sell_after_start` no end */
  sales_end?: TimeLike | null;
  /** Sales may go on after the start; without it `sales_end` is the start at the latest */
  sell_after_start?: boolean;
  /** The most seats of one booking */
  max_per_booking?: number;
  /** How many seats one owner may have, over all bookings; null: as many as this Holdfast allows */
  max_per_owner?: number | null;
  /** null: customers may not cancel */
  cancel_until?: TimeLike | null;
  /** Customers may cancel after the start; without it `cancel_until` is the start at the latest */
  cancel_after_start?: boolean;
  /** Of later bookings */
  payment_methods?: PaymentMethods;
  /** null: three weeks before the start */
  slow_payments_until?: TimeLike | null;
  /** A draft becomes `published`, and that `archived` and back. It becomes a `draft` again only while it has no booking */
  status?: EventStatus;
  /** Markdown (CommonMark). HTML, images, and links to anything but http, https and mailto are refused; null: none */
  description?: string | null;
  /** A label of your own, by which `GET /events` can be filtered; null: none */
  category?: string | null;
  /** Where it takes place, as a whole; null: nowhere */
  venue?: NewVenue | null;
  /** Changes of ticket types, and new ones */
  ticket_types?: TicketTypePatch[];
}

/** Who may see an event. A draft is for operators alone, and a published event for everybody. An archived one is in no list and is not sold, but can still be read by its id. */
export type EventStatus = "draft" | "published" | "archived";

/** One value of an event, or of one of its ticket types or promo codes, that has changed. */
export interface FieldChange {
  /** Its name, as in the event or the ticket type, or such as `venue.city` */
  field: string;
  /** The ticket type; null: the event itself */
  ticket_type_id?: string | null;
  /** The promo code that has it, or the first of those that were made together */
  code?: string | null;
  /** The value before: of a long description the beginning, of an image the hash. Null also where there was none */
  old: string | number | boolean | null;
  /** The value since */
  new: string | number | boolean | null;
}

/** One value of a request that is not valid. */
export interface FieldError {
  /** Where: body, query, path or header, then the way to the value */
  loc: (string | number)[];
  /** What is wrong, for people */
  msg: string;
  /** Which rule it breaks. Open: rules may be added */
  type: string;
  /** What the rule allows, where it is a number or time */
  limit?: number | Time | null;
}

/** A new guest: who has the token owns what is booked with it. */
export interface GuestToken {
  /** For the header `Authorization: Bearer …` */
  token: string;
  /** Who the guest is: the owner of the bookings */
  subject: string;
  /** Until when the token is accepted */
  expires_at: Time;
}

/** Seats of one ticket type, at the price at which they were booked. */
export interface Item {
  /** The ticket type */
  ticket_type_id: string;
  /** How many seats */
  quantity: number;
  /** In the currency's minor unit */
  unit_amount: number;
  /** What the promo code takes off each seat, in the currency's minor unit */
  unit_discount?: number;
}

/** How many seats of which ticket type; without `ticket_type_id` of the event's only one. */
export interface ItemRequest {
  /** The ticket type */
  ticket_type_id?: string | null;
  /** How many seats */
  quantity: number;
}

/** Why a person is needed. `refund_failed`: money of a booking could not go back; `refund_by_hand`: money of a box-office sale is owed, which Holdfast cannot give back; `balance_too_low`: refunds wait for your balance at Stripe; `dispute`: a bank wants an answer; `money_without_booking`: an intent of no booking, or a second one of a booking, has money that is not all back, or can still bring some; `payment_mismatch`: in the last 7 days a payment had another amount than its booking; `dead_letters`: messages that a mailbox's consumers could not handle; `mail_not_sent`: in the last 7 days a mail was refused or given up, and none was sent instead; `endpoint_disabled`: an endpoint gets no webhooks, as it has failed or is gone. Open: values may be added */
export type KindOfAttention = KnownKindOfAttention | (string & {});

/** What a mail is about; `attention` goes to operators. Open: values may be added */
export type KindOfMail = KnownKindOfMail | (string & {});

/** The values of `BookingReason` that this release knows. */
export type KnownBookingReason = "by_customer" | "by_operator" | "event_cancelled" | "hold_expired" | "payment_canceled" | "payment_mismatch" | "payment_rejected" | "refunded" | "sold_out";

/** The values of `CheckInOutcome` that this release knows. */
export type KnownCheckInOutcome = "cancelled" | "invalid" | "ok" | "other_event" | "undone" | "used";

/** The values of `EventChangeKind` that this release knows. */
export type KnownEventChangeKind = "cancelled" | "changed" | "created";

/** The values of `KindOfAttention` that this release knows. */
export type KnownKindOfAttention = "balance_too_low" | "dead_letters" | "dispute" | "endpoint_disabled" | "mail_not_sent" | "money_without_booking" | "payment_mismatch" | "refund_by_hand" | "refund_failed";

/** The values of `KindOfMail` that this release knows. */
export type KnownKindOfMail = "attention" | "cancellation" | "confirmation" | "offer" | "refund";

/** The values of `PartOfAttention` that this release knows. */
export type KnownPartOfAttention = "booking" | "payment";

/** The values of `ProblemCode` that this release knows. */
export type KnownProblemCode = "already_waiting" | "amount_mismatch" | "amount_off_step" | "amount_over_left" | "amount_over_limit" | "amount_under_limit" | "booking_cancelled" | "booking_paused" | "cancellation_closed" | "capacity_below_sold" | "check_in_undone" | "code_exists" | "code_expired" | "code_not_applicable" | "code_not_found" | "code_not_valid_yet" | "code_owner_limit_reached" | "code_used_up" | "conflict" | "event_cancelled" | "event_not_found" | "forbidden" | "guest_proof_refused" | "guest_token_required" | "hold_expired" | "idempotency_key_required" | "idempotency_key_reused" | "image_invalid" | "internal_error" | "invalid_request" | "last_tickets" | "link_invalid" | "mail_not_possible" | "malformed_request" | "method_not_allowed" | "not_found" | "not_on_sale" | "not_sold_out" | "nothing_to_pay" | "nothing_to_recover" | "offer_made" | "owner_limit_reached" | "payload_too_large" | "payment_canceled" | "payment_mismatch" | "payment_rejected" | "precondition_failed" | "price_changed" | "quantity_over_limit" | "recovery_code_invalid" | "request_timeout" | "sales_ended" | "sales_not_started" | "sold_out" | "ticket_cancelled" | "ticket_invalid" | "ticket_of_another_event" | "ticket_type_not_found" | "ticket_type_required" | "ticket_types_over_limit" | "ticket_used" | "timeout" | "too_many_holds" | "too_many_requests" | "too_many_waiting" | "unauthorized" | "unavailable" | "unsupported_media_type" | "uses_below_used";

/** The values of `TicketState` that this release knows. */
export type KnownTicketState = "cancelled" | "refunded" | "used" | "valid";

/** The values of `TransitionCause` that this release knows. */
export type KnownTransitionCause = "booking.cancel" | "booking.create" | "booking.create_with_code" | "booking.refund" | "booking.refund_tickets" | "booking.sell" | "booking.set_customer" | "payment.action_required" | "payment.canceled" | "payment.declined" | "payment.dispute_updated" | "payment.intent_created" | "payment.intent_rejected" | "payment.processing" | "payment.refund_updated" | "payment.succeeded" | "time";

/** The values of `WebhookDisabledReason` that this release knows. */
export type KnownWebhookDisabledReason = "by_operator" | "failing" | "gone";

/** The values of `WebhookType` that this release knows. */
export type KnownWebhookType = "booking.cancelled" | "booking.confirmed" | "booking.customer_changed" | "booking.disputed" | "booking.failed" | "booking.refund_failed" | "booking.refunded" | "event.cancelled" | "event.changed" | "event.created" | "waiting_list.offered";

/** By what a guest comes back from a mail: what the link in it has. */
export interface LinkedGuest {
  /** The booking's reference, in the link's path */
  reference: string;
  /** What follows `#link=` */
  token: string;
}

/** A mail about a booking, and what became of it. */
export interface Mail {
  /** Its id, which its Message-ID begins with */
  id: string;
  kind: KindOfMail;
  /** `owed` until a mail server has taken it (`sent`), refuses it for good (`refused`), or has not taken it for days (`given_up`); `dropped` where there was nobody to write to any more, or nothing to write */
  status: MailStatus;
  /** To whom it was tried to be sent last; null before that, and where it was erased */
  recipient: string | null;
  /** How often it was tried */
  attempts: number;
  /** Why it is not sent: the mail server's last answer, or ours */
  error: string | null;
  /** Of a refund: what was given back, in the currency's minor unit; null for other kinds */
  amount: number | null;
  /** The subject of the operator who wanted it sent again; null: nobody did */
  by: string | null;
  /** Since when it is owed */
  made_at: Time;
  /** When it was tried last */
  tried_at: Time | null;
  /** When it is tried next; null when it has ended */
  send_after: Time | null;
  /** When it was sent, or ended otherwise */
  ended_at: Time | null;
}

/** A page of a list: each item is a `Mail`. */
export interface MailPage {
  /** What is on this page, in the order of the list */
  items: Mail[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Where a mail is: `owed` until a mail server has taken it (`sent`), or refuses it for good (`refused`), or has not taken it for days (`given_up`), or there is nobody to write to any more, or nothing to write (`dropped`). */
export type MailStatus = "owed" | "sent" | "refused" | "given_up" | "dropped";

/** Which seats: exactly one of `items` and, where the event has a single ticket type, `quantity`. */
export interface NewBooking {
  /** The event */
  event_id: string;
  /** How many seats of which ticket types, 1000 at most; not beside `quantity` */
  items?: NewBookingItem[] | null;
  /** How many seats of the event's only ticket type; not beside `items` */
  quantity?: number | null;
  /** What all seats together cost as the customer was shown it, in the currency's minor unit: at another price the request is refused with `price_changed`, and no seats are held. A precondition, and no content: the same Idempotency-Key with another `expected_amount` is the same booking */
  expected_amount?: number | null;
  /** A promo code, as the customer writes it: case, spaces and hyphens do not count */
  code?: string | null;
  /** Whom it is for. Stripe sends its receipt to `email` as it is here, also when the customer is changed later */
  customer?: NewCustomer | null;
}

/** How many seats of which ticket type. */
export interface NewBookingItem {
  /** The ticket type; each is named once */
  ticket_type_id: string;
  /** How many seats */
  quantity: number;
}

/** A ticket that is shown at a door now. */
export interface NewCheckIn {
  /** What the QR code says */
  code?: string | null;
  /** Without `code`: the ticket's booking */
  booking_id?: string | null;
  /** Without `code`: the ticket */
  ticket_id?: string | null;
  /** When it was shown, by the scanner's clock; left out, or in the future: now */
  at?: TimeLike | null;
  /** Where, for people */
  gate?: string | null;
  /** By which scanner, for people */
  device?: string | null;
  /** A new one for each time that a ticket is shown: the request may be sent again with it, and is answered as before */
  id?: string | null;
  /** The event of this door: tickets of others are refused. Left out: any event */
  event_id?: string | null;
}

/** Tickets that were shown at a door without a network, in the order in which they were. */
export interface NewCheckIns {
  /** The event of this door: tickets of others are refused. Left out: any event */
  event_id?: string | null;
  /** The check-ins, 100 at most */
  items: OfflineCheckIn[];
}

/** Whom a booking is for. */
export interface NewCustomer {
  /** One line with at least one visible character, and no control or bidirectional marks */
  name: string;
  /** Without quotes, and with letters of ASCII before the `@` */
  email: string;
  /** The language to write in, by BCP 47, such as `de-AT` */
  locale: string;
  /** By E.164, with the `+` */
  phone?: string | null;
}

/** Who wants to be forgotten: exactly one of `email` and `subject`. */
export interface NewErasure {
  /** The email address of the customer, whatever its case */
  email?: string | null;
  /** The owner whose bookings' customers are erased */
  subject?: string | null;
}

/** An event with its ticket types. */
export interface NewEvent {
  /** One line with at least one visible character, and no control or bidirectional marks */
  name: string;
  /** In the future */
  starts_at: TimeLike;
  /** The venue's, by its IANA name. Default: `"UTC"` */
  time_zone?: string;
  /** One that Stripe takes: https://docs.stripe.com/currencies */
  currency: string;
  /** Whether seats are sold at all: the operators' switch. Default: `true` */
  on_sale?: boolean;
  /** Before it nothing is sold; null: at once */
  sales_start?: TimeLike | null;
  /** From then on no seats are sold. Null: the start, even if it changes; with `sell_after_start` no end */
  sales_end?: TimeLike | null;
  /** Sales may go on after the start; without it `sales_end` is the start at the latest. Default: `false` */
  sell_after_start?: boolean;
  /** The most seats of one booking. Default: `10` */
  max_per_booking?: number;
  /** How many seats one owner may have, over all bookings; null: as many as this Holdfast allows */
  max_per_owner?: number | null;
  /** Until when customers may cancel, the start at the latest; null: not at all */
  cancel_until?: TimeLike | null;
  /** Customers may cancel after the start; without it `cancel_until` is the start at the latest. Default: `false` */
  cancel_after_start?: boolean;
  /** `instant`: methods that answer at once; `all`: also slow ones, whose money takes days to come. Default: `"instant"` */
  payment_methods?: PaymentMethods;
  /** With `all`: new bookings from then on are offered instant methods alone; null: from three weeks before the start */
  slow_payments_until?: TimeLike | null;
  /** `draft`: nobody but operators sees it until it is published. Default: `"published"` */
  status?: "draft" | "published";
  /** Markdown (CommonMark). HTML, images, and links to anything but http, https and mailto are refused */
  description?: string | null;
  /** A label of your own, by which `GET /events` can be filtered */
  category?: string | null;
  /** Where it takes place */
  venue?: NewVenue | null;
  /** Its ticket types, in their order */
  ticket_types: NewEventTicketType[];
}

/** A kind of seat of the new event. */
export interface NewEventTicketType {
  /** One line with at least one visible character, and no control or bidirectional marks */
  name: string;
  /** The price of one seat, in the currency's minor unit */
  unit_amount: number;
  /** How many seats there are, sold and held ones included */
  capacity: number;
  /** Only those see it, and can book it, who have a promo code that unlocks it. Default: `false` */
  hidden?: boolean;
}

/** What a new guest sends where this installation needs a proof; otherwise nothing, and a proof is ignored. */
export interface NewGuest {
  /** What the installation's check has given to the client, as the token of a captcha */
  proof?: string | null;
}

/** Which mail is sent again. */
export interface NewMail {
  /** What it is about: it must be true of the booking */
  kind: "confirmation" | "cancellation" | "refund";
}

/** Which booking is to be paid. `amount` and `currency` may be left out; if sent they must be the booking's. */
export interface NewPaymentIntent {
  /** The booking */
  booking_id: string;
  /** What the booking costs, in the currency's minor unit */
  amount?: number | null;
  /** The booking's currency */
  currency?: string | null;
}

/** One code, by `code`, or many with the same terms, by `prefix` and `count`. What it does: `percent_off` or `amount_off`, `unlocks`, or both. */
export interface NewPromoCodes {
  /** As it was written. What customers enter is compared without regard to case, spaces and hyphens */
  code?: string | null;
  /** What each code begins with, before a hyphen and 10 random characters */
  prefix?: string | null;
  /** How many codes are made, 500 at most; beside `prefix` */
  count?: number | null;
  /** What it takes off each ticket in percent, rounded half up for each; null: no percentage */
  percent_off?: number | null;
  /** What it takes off each ticket in the currency's minor unit, at most the price; null: no amount */
  amount_off?: number | null;
  /** Whose tickets cost less; empty: all ticket types' */
  ticket_types?: string[];
  /** The hidden ticket types that it shows, and lets its owner book */
  unlocks?: string[];
  /** How many bookings may be made with the code, with each of many; null: any number */
  uses_max?: number | null;
  /** How many bookings one owner may make with it; null: any number. A guest is a new owner with each token */
  uses_per_owner?: number | null;
  /** From when on it is good; null: from the beginning */
  valid_from?: TimeLike | null;
  /** From when on it is no longer good; null: always */
  valid_until?: TimeLike | null;
  /** Whether it is good at all: the operators' switch. Default: `true` */
  active?: boolean;
}

/** Which seats: exactly one of `items` and, where the event has a single ticket type, `quantity`. */
export interface NewQuote {
  /** The event */
  event_id: string;
  /** How many seats of which ticket types, 1000 at most; not beside `quantity` */
  items?: NewBookingItem[] | null;
  /** How many seats of the event's only ticket type; not beside `items` */
  quantity?: number | null;
  /** What all seats together cost as the customer was shown it, in the currency's minor unit: at another price the request is refused with `price_changed`, and no seats are held. A precondition, and no content: the same Idempotency-Key with another `expected_amount` is the same booking */
  expected_amount?: number | null;
  /** A promo code, as the customer writes it: case, spaces and hyphens do not count */
  code?: string | null;
}

/** How much goes back to the customer. */
export interface NewRefund {
  /** In the currency's minor unit; left out or null: all that is left, or what `ticket_ids` cost */
  amount?: number | null;
  /** Tickets that are cancelled with it, while the booking keeps others: they let nobody in any more, and their seats are free again. Left out: none */
  ticket_ids?: string[];
}

/** Which of an endpoint's failed deliveries are sent again. */
export interface NewRepetition {
  /** Those that were made then or later */
  since: TimeLike;
}

/** Which tokens are refused from now on: exactly one of `jti` and `subject`. */
export interface NewRevocation {
  /** The id of one token, its claim `jti` */
  jti?: string | null;
  /** The subject whose tokens are refused that were issued until now, and for some seconds more; those issued later are good */
  subject?: string | null;
  /** When the tokens end by themselves, so that the revocation need not be known any longer. Left out: in 366 days, which is longer than the tokens of guests last */
  expires_at?: TimeLike | null;
}

/** What an operator sells or gives away, without Stripe. */
export interface NewSale {
  /** The event */
  event_id: string;
  /** How many seats of which ticket types, 1000 at most; not beside `quantity` */
  items?: NewBookingItem[] | null;
  /** How many seats of the event's only ticket type; not beside `items` */
  quantity?: number | null;
  /** What all seats together cost as the customer was shown it, in the currency's minor unit: at another price the request is refused with `price_changed`, and no seats are held. A precondition, and no content: the same Idempotency-Key with another `expected_amount` is the same booking */
  expected_amount?: number | null;
  /** How it is paid: `cash`, or by `card_terminal`; `complimentary`: it costs nothing, whatever its seats cost */
  method: BoxOfficeMethod;
  /** What operators are to read with it, such as a receipt's number. It stays when the customer is erased: write no names into it */
  note?: string | null;
  /** The subject whose booking it is to be, and who sees it; left out: nobody */
  owner?: string | null;
  /** Whom it is for */
  customer?: NewCustomer | null;
}

/** Where the event takes place. */
export interface NewVenue {
  /** One line with at least one visible character, and no control or bidirectional marks */
  name: string;
  /** Street and number */
  address?: string | null;
  /** As it is written there */
  postal_code?: string | null;
  /** The city or place */
  city?: string | null;
  /** By ISO 3166-1, in two capital letters */
  country?: string | null;
}

/** For which seats of a sold-out ticket type somebody waits. */
export interface NewWaitingEntry {
  /** The event */
  event_id: string;
  /** The ticket type; may be left out where the event has a single one */
  ticket_type_id?: string | null;
  /** How many seats, which are offered together */
  quantity: number;
  /** Whom the booking is for that will be offered: as in `POST /bookings` */
  customer?: NewCustomer | null;
}

/** Where webhooks are sent. */
export interface NewWebhookEndpoint {
  /** Begins with `https://`, unless the installation allows others */
  url: string;
  /** What it is for */
  description?: string | null;
  /** What it gets; null: all, also types that later releases add */
  types?: ("booking.confirmed" | "booking.cancelled" | "booking.failed" | "booking.refunded" | "booking.refund_failed" | "booking.disputed" | "booking.customer_changed" | "waiting_list.offered" | "event.created" | "event.changed" | "event.cancelled")[] | null;
  /** False: it gets nothing until it is enabled. Default: `true` */
  enabled?: boolean;
}

/** A rotation of an endpoint's secret. */
export interface NewWebhookSecret {
  /** For how many seconds the secrets before are used beside the new one; 0: not any more. Default: `86400` */
  overlap_seconds?: number;
}

/** A ticket that was shown at a door without a network. */
export interface OfflineCheckIn {
  /** What the QR code says */
  code?: string | null;
  /** Without `code`: the ticket's booking */
  booking_id?: string | null;
  /** Without `code`: the ticket */
  ticket_id?: string | null;
  /** When it was shown, by the scanner's clock; left out, or in the future: now */
  at?: TimeLike | null;
  /** Where, for people */
  gate?: string | null;
  /** By which scanner, for people */
  device?: string | null;
  /** A new one for each time that a ticket was shown */
  id: string;
}

/** An event as operators see it. With a cancellation's progress, `version` also counts its bookings' changes. */
export interface OperatorsEvent {
  /** Its id */
  id: string;
  /** Its title */
  name: string;
  /** When it starts */
  starts_at: Time;
  /** The venue's, by its IANA name: times themselves are in UTC */
  time_zone?: string;
  /** By ISO 4217, in lower case */
  currency: string;
  /** How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the main unit. Null for a currency that Stripe does not list (any more) */
  currency_exponent?: number | null;
  /** Whether seats are sold at all: the operators' switch */
  on_sale: boolean;
  /** Before it nothing is sold; null: at once */
  sales_start?: Time | null;
  /** From then on nothing is sold: the start, unless another time was set. Null: no end */
  sales_end?: Time | null;
  /** Whether seats are sold after the start */
  sell_after_start?: boolean;
  /** Whether customers may cancel after the start */
  cancel_after_start?: boolean;
  /** Its ticket types, in their order */
  ticket_types: OperatorsTicketType[];
  /** The most seats of one booking */
  max_per_booking: number;
  /** How many seats one owner may have, over all bookings; null: as many as this Holdfast allows */
  max_per_owner?: number | null;
  /** Until when customers may cancel a booking that is paid; null: never */
  cancel_until?: Time | null;
  /** Since when it is cancelled, for good */
  called_off_at?: Time | null;
  /** `instant`: methods that answer at once; `all`: also slow ones, whose money takes days to come */
  payment_methods?: PaymentMethods;
  /** With `all`: new bookings from then on are offered instant methods alone; null: from three weeks before the start */
  slow_payments_until?: Time | null;
  /** `draft`: only operators see it; `published`: everybody does; `archived`: it is in no list and is not sold, and everybody may read it by its id */
  status?: EventStatus;
  /** The operator's own label. Missing in changes on the WebSocket: see `content_version` */
  category?: string | null;
  /** Where it takes place. Missing in changes on the WebSocket: see `content_version` */
  venue?: Venue | null;
  /** Its image. Missing in changes on the WebSocket: see `content_version` */
  image?: EventImage | null;
  /** The `terms_version` with which its description, category, venue or image changed last: read it again when this is another. 0: it never had any of them */
  content_version?: number;
  /** Grows with each change, also of how many seats are left */
  version?: number;
  /** Grows with each change of the event and its ticket types, not with its seats: the `ETag` */
  terms_version?: number | null;
  /** Of a cancelled event, where it is read by itself; null in lists */
  progress?: Progress | null;
  /** The last time that all failed refunds were tried again; null in lists */
  refund_retry?: RefundRetry | null;
}

/** An event as operators see it, with its description. */
export interface OperatorsEventDetails {
  /** Its id */
  id: string;
  /** Its title */
  name: string;
  /** When it starts */
  starts_at: Time;
  /** The venue's, by its IANA name: times themselves are in UTC */
  time_zone?: string;
  /** By ISO 4217, in lower case */
  currency: string;
  /** How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the main unit. Null for a currency that Stripe does not list (any more) */
  currency_exponent?: number | null;
  /** Whether seats are sold at all: the operators' switch */
  on_sale: boolean;
  /** Before it nothing is sold; null: at once */
  sales_start?: Time | null;
  /** From then on nothing is sold: the start, unless another time was set. Null: no end */
  sales_end?: Time | null;
  /** Whether seats are sold after the start */
  sell_after_start?: boolean;
  /** Whether customers may cancel after the start */
  cancel_after_start?: boolean;
  /** Its ticket types, in their order */
  ticket_types: OperatorsTicketType[];
  /** The most seats of one booking */
  max_per_booking: number;
  /** How many seats one owner may have, over all bookings; null: as many as this Holdfast allows */
  max_per_owner?: number | null;
  /** Until when customers may cancel a booking that is paid; null: never */
  cancel_until?: Time | null;
  /** Since when it is cancelled, for good */
  called_off_at?: Time | null;
  /** `instant`: methods that answer at once; `all`: also slow ones, whose money takes days to come */
  payment_methods?: PaymentMethods;
  /** With `all`: new bookings from then on are offered instant methods alone; null: from three weeks before the start */
  slow_payments_until?: Time | null;
  /** `draft`: only operators see it; `published`: everybody does; `archived`: it is in no list and is not sold, and everybody may read it by its id */
  status?: EventStatus;
  /** The operator's own label. Missing in changes on the WebSocket: see `content_version` */
  category?: string | null;
  /** Where it takes place. Missing in changes on the WebSocket: see `content_version` */
  venue?: Venue | null;
  /** Its image. Missing in changes on the WebSocket: see `content_version` */
  image?: EventImage | null;
  /** The `terms_version` with which its description, category, venue or image changed last: read it again when this is another. 0: it never had any of them */
  content_version?: number;
  /** Grows with each change, also of how many seats are left */
  version?: number;
  /** Grows with each change of the event and its ticket types, not with its seats: the `ETag` */
  terms_version?: number | null;
  /** Of a cancelled event, where it is read by itself; null in lists */
  progress?: Progress | null;
  /** The last time that all failed refunds were tried again; null in lists */
  refund_retry?: RefundRetry | null;
  /** Markdown (CommonMark without HTML and images), at most 20000 characters */
  description?: string | null;
  /** The description as HTML that is safe to insert into a page: paragraphs, headings, lists, emphasis, quotes, code, and links to http, https and mailto. The gateway makes it */
  description_html?: string | null;
}

/** A page of a list: each item is a `OperatorsEvent`. */
export interface OperatorsEventPage {
  /** What is on this page, in the order of the list */
  items: OperatorsEvent[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Of the seats that are not available: `held` by pending bookings, `sold` to confirmed ones, `reserved` for those who wait. */
export interface OperatorsTicketType {
  /** Its id */
  id: string;
  /** Its title */
  name: string;
  /** The price of one seat, in the currency's minor unit */
  unit_amount: number;
  /** How many seats there are, sold and held ones included */
  capacity: number;
  /** How many seats are free */
  available: number;
  /** Only operators see it, and those who have a promo code that unlocks it: it is nowhere else */
  hidden?: boolean;
  /** Seats of pending bookings */
  held: number;
  /** Seats of confirmed bookings */
  sold: number;
  /** Seats that are kept for the next offers to those who wait */
  reserved?: number;
  /** How many seats those want who are on its waiting list */
  waiting?: number;
}

/** An entry as operators see it. */
export interface OperatorsWaitingEntry {
  /** Made from the Idempotency-Key */
  id: string;
  /** The event */
  event_id: string;
  /** The ticket type */
  ticket_type_id: string;
  /** How many seats are wanted, which are offered together */
  quantity: number;
  /** `waiting`; `offered`: pay the booking `booking_id`, or cancel it; `accepted`: that booking is, or was, confirmed; `lapsed`: it was not paid in time; `left`: the owner no longer waits, or has cancelled the offer; `closed`: there will be no offer, or it was withdrawn: see `reason` */
  status: WaitingStatus;
  /** Why it is `closed`: `event_cancelled`, `sales_ended`, or another code of a problem with which a booking would be refused. After an offer the reason of its booking. Open: values may be added */
  reason?: string | null;
  /** How many entries are up to this one in the line, itself included, when it was read; null once it no longer waits, and in the operators' list, which is in the order of the line */
  position?: number | null;
  /** The booking that was offered; null: none yet */
  booking_id?: string | null;
  /** Until when the seats of the offer are held; null without an open offer */
  offered_until?: Time | null;
  /** When it was made */
  joined_at: Time;
  /** When it changed last */
  updated_at: Time;
  /** Grows with each change, also of the booking; not with the position */
  version: number;
  /** Whose it is */
  owner: string;
  /** Whom the offered booking is for; null: not known, or erased */
  customer?: Customer | null;
}

/** A page of a list: each item is a `OperatorsWaitingEntry`. */
export interface OperatorsWaitingEntryPage {
  /** What is on this page, in the order of the list */
  items: OperatorsWaitingEntry[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** An actor that has not answered. Of `payment` are `dispute` and `money_without_booking`, of `booking` all other kinds; each knows the `dead_letters` of its own mailboxes. Open: values may be added */
export type PartOfAttention = KnownPartOfAttention | (string & {});

/** Why a payment was declined, in Stripe's words: https://docs.stripe.com/declines/codes. */
export interface PaymentError {
  /** Stripe's code of the error; any text of Stripe's */
  code: string;
  /** The bank's reason; any text of Stripe's */
  decline_code?: string | null;
  /** Stripe's text for the customer */
  message?: string | null;
}

/** What Stripe.js needs to let the customer pay. */
export interface PaymentIntent {
  /** The booking */
  booking_id: string;
  /** Stripe's id of the PaymentIntent */
  payment_intent_id: string;
  /** What Stripe.js confirms the intent with; keep it from others */
  client_secret: string;
  /** What the booking costs, in the currency's minor unit */
  amount: number;
  /** By ISO 4217, in lower case */
  currency: string;
  /** How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the main unit. Null for a currency that Stripe does not list (any more) */
  currency_exponent?: number | null;
  /** The key of the Stripe account that Stripe.js needs; null where none is set */
  publishable_key?: string | null;
}

/** Which of Stripe's payment methods are offered: those that answer at once, or also those that take days. */
export type PaymentMethods = "instant" | "all";

/** How the money of a booking stands. */
export type PaymentStatus = "none" | "creating" | "awaiting" | "action_required" | "processing" | "paid" | "refund_pending" | "partially_refunded" | "refunded" | "refund_failed" | "disputed";

/** How the money of a booking stands. */
export interface PaymentSummary {
  status: PaymentStatus;
  /** Stripe's id of the PaymentIntent */
  intent_id?: string | null;
  /** Only for the owner, and only while there is something to pay */
  client_secret?: string | null;
  /** Why the last attempt to pay failed */
  last_error?: PaymentError | null;
  /** While `creating`: how many bookings are before this one in the queue in front of Stripe; 0 is the next. Null where it is not known */
  queue_position?: number | null;
  /** Its owner, or the guests of its address, have asked Stripe for more than their share: what it needs there waits behind what others need, and its place in the queue is behind theirs */
  deferred?: boolean;
  /** Only for operators: why a refund that is under way is not made yet. Stripe's `pending_reason` (`processing`, `insufficient_funds` of our balance, `charge_pending`), or the code with which Stripe refuses it for now */
  refund_waiting?: string | null;
  /** Only for operators: why the last refund that nothing has made good failed */
  refund_error?: string | null;
  /** Only for operators: every dispute of the charge, oldest first */
  disputes?: Dispute[] | null;
  /** How many attempts to pay have failed; `last_error` says why the last */
  attempts?: number;
  /** The money that came in, in the currency's minor unit, whatever went back since */
  amount_captured?: number;
  /** What of it has gone back, in the currency's minor unit */
  amount_refunded?: number;
  /** Only for operators: every refund, also those that failed, oldest first */
  refunds?: Refund[] | null;
  /** Only for operators: why Stripe refused to make the intent (`payment_rejected`) */
  rejection?: Rejection | null;
  /** How it was paid where an operator sold it; null: not at the box office */
  method?: BoxOfficeMethod | null;
  /** Only for operators: what they noted when they sold it */
  note?: string | null;
}

/** A description that no event has yet. */
export interface PreviewedDescription {
  /** Markdown (CommonMark). HTML, images, and links to anything but http, https and mailto are refused */
  description: string;
}

/** RFC 9457: `code` is stable, `detail` is for people. Which further members there are depends on the code. */
export interface Problem {
  /** Every value that is not valid. With `invalid_request` */
  errors?: FieldError[] | null;
  /** Which limit: `address`, `subject`, `guests`, `sockets_per_subject`, `sockets_per_address`, `wasted_bookings_per_subject`, `wasted_bookings_per_address`, `wrong_codes_per_subject` or `wrong_codes_per_address`. With `too_many_requests` */
  limited_by?: string | null;
  /** The scope that the token lacks, where one would do. With `forbidden` */
  scope?: string | null;
  /** What an amount may be at most, must be at least, or be a multiple of; or how many may wait. With `amount_off_step`, `amount_over_limit`, `amount_under_limit`, `too_many_waiting` */
  limit?: number | null;
  /** When the sale starts. With `sales_not_started` */
  sales_start?: Time | null;
  /** When the sale ended. With `sales_ended` */
  sales_end?: Time | null;
  /** How many seats are free. With `not_sold_out` */
  available?: number | null;
  /** What the seats cost now, in the currency's minor unit. With `price_changed` */
  amount?: number | null;
  /** What the request expected. With `price_changed` */
  expected_amount?: number | null;
  /** How many seats of the event one owner may have. With `owner_limit_reached` */
  max_per_owner?: number | null;
  /** From when on the promo code is good. With `code_not_valid_yet` */
  valid_from?: Time | null;
  /** Until when the promo code was good. With `code_expired` */
  valid_until?: Time | null;
  /** How many bookings one owner may make with the promo code. With `code_owner_limit_reached` */
  uses_per_owner?: number | null;
  /** How many bookings were made with the promo code. With `uses_below_used` */
  uses?: number | null;
  /** The currency of the amounts. With `price_changed` */
  currency?: string | null;
  /** The booking that has ended, or that was offered. With `booking_cancelled`, `event_cancelled`, `hold_expired`, `offer_made`, `payment_canceled`, `payment_mismatch`, `payment_rejected`, `sold_out` */
  booking_id?: string | null;
  /** Why it has ended. With `booking_cancelled`, `event_cancelled`, `hold_expired`, `payment_canceled`, `payment_mismatch`, `payment_rejected`, `sold_out` */
  reason?: BookingReason | null;
  /** How the booking stands. With `nothing_to_pay` */
  booking_status?: BookingStatus | null;
  /** How its money stands. With `nothing_to_pay` */
  payment_status?: PaymentStatus | null;
  /** What it is about to be cancelled for; null: it is not. With `nothing_to_pay` */
  closing?: BookingReason | null;
  /** How many bookings are before this one in the queue in front of Stripe, where it is known. With `timeout` */
  queue_position?: number | null;
  /** The entity tag of the version as it is now, as in the header `ETag`. With `precondition_failed` */
  etag?: string | null;
  /** The ticket. With `check_in_undone`, `ticket_cancelled`, `ticket_of_another_event`, `ticket_used` */
  ticket_id?: string | null;
  /** The check-in that came first, or this one. With `check_in_undone`, `ticket_used` */
  check_in_id?: string | null;
  /** When somebody was let in by the ticket. With `ticket_used` */
  used_at?: Time | null;
  /** Where that was; null: the scanner did not say so. With `ticket_used` */
  gate?: string | null;
  /** By which scanner; null: it did not say so. With `ticket_used` */
  device?: string | null;
  /** Seconds to wait, as in the header `Retry-After`. With `booking_paused`, `too_many_holds`, `too_many_requests`, `unavailable` */
  retry_after?: number | null;
  /** `urn:holdfast:problem:` and the code */
  type: string;
  /** What the code means, for people */
  title: string;
  /** The HTTP status */
  status: number;
  code: ProblemCode;
  /** What is wrong here, for people */
  detail: string;
}

/** What went wrong, by a name that stays the same. Open: values may be added */
export type ProblemCode = KnownProblemCode | (string & {});

/** How far the cancellation of an event has come. */
export interface Progress {
  /** To be ended: those that are cancelled for it, and those still to be */
  bookings: number;
  /** How many of them are cancelled for it */
  cancelled: number;
  refunds: Refunds;
  /** Nothing is to be cancelled, and no refund owed, under way or waiting */
  finished: boolean;
}

/** What customers enter to pay less, or to see hidden ticket types. */
export interface PromoCode {
  /** Its id */
  id: string;
  /** The event */
  event_id: string;
  /** As it was written. What customers enter is compared without regard to case, spaces and hyphens */
  code: string;
  /** What it takes off each ticket in percent, rounded half up for each; null: no percentage */
  percent_off: number | null;
  /** What it takes off each ticket in the currency's minor unit, at most the price; null: no amount */
  amount_off: number | null;
  /** Whose tickets cost less; empty: all ticket types' */
  ticket_types: string[];
  /** The hidden ticket types that it shows, and lets its owner book */
  unlocks: string[];
  /** How many bookings may be made with it; null: any number */
  uses_max: number | null;
  /** How many bookings one owner may make with it; null: any number. A guest is a new owner with each token */
  uses_per_owner: number | null;
  /** From when on it is good; null: from the beginning */
  valid_from: Time | null;
  /** From when on it is no longer good; null: always */
  valid_until: Time | null;
  /** Whether it is good at all: the operators' switch */
  active: boolean;
  /** Its pending bookings */
  held: number;
  /** Its confirmed bookings */
  used: number;
}

/** A page of a list: each item is a `PromoCode`. */
export interface PromoCodePage {
  /** What is on this page, in the order of the list */
  items: PromoCode[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Changes the fields that are sent, for bookings that are made from then on. */
export interface PromoCodePatch {
  /** What it takes off each ticket in percent, rounded half up for each; null: no percentage */
  percent_off?: number | null;
  /** What it takes off each ticket in the currency's minor unit, at most the price; null: no amount */
  amount_off?: number | null;
  /** Whose tickets cost less; empty: all ticket types' */
  ticket_types?: string[];
  /** The hidden ticket types that it shows, and lets its owner book */
  unlocks?: string[];
  /** How many bookings may be made with it; null: any number */
  uses_max?: number | null;
  /** How many bookings one owner may make with it; null: any number. A guest is a new owner with each token */
  uses_per_owner?: number | null;
  /** From when on it is good; null: from the beginning */
  valid_from?: TimeLike | null;
  /** From when on it is no longer good; null: always */
  valid_until?: TimeLike | null;
  /** Whether it is good at all: the operators' switch */
  active?: boolean;
}

/** Codes that were made together. */
export interface PromoCodes {
  /** All of them */
  items: PromoCode[];
}

/** A booking that was requested and does not exist yet: it may still be refused, as when seats are sold out. Read it again at `Location`, or send the same request with the same Idempotency-Key. */
export interface QueuedBooking {
  /** Which shape this is, beside `booking` */
  kind: "queued";
  /** The id that the booking will have */
  id: string;
  /** By what people name the booking to each other. It follows from the id; another booking may have the same */
  reference: string;
  /** The event */
  event_id: string;
  /** How many seats of which ticket types were asked for */
  items: ItemRequest[];
  status: "pending";
  payment?: QueuedPayment;
  /** Less than that of any booking */
  version: 0;
}

/** How the money of a booking stands that is not made yet. */
export interface QueuedPayment {
  status: "creating";
}

/** What seats would cost now. Nothing is held. */
export interface Quote {
  /** The event */
  event_id: string;
  /** How many seats of which ticket types, and their prices */
  items: QuotedItem[];
  /** What they cost without the code, in the currency's minor unit */
  subtotal: number;
  /** What the code takes off, in the currency's minor unit */
  discount: number;
  /** What is to be paid, in the currency's minor unit: the `expected_amount` of the booking */
  amount: number;
  /** By ISO 4217, in lower case */
  currency: string;
  /** How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the main unit. Null for a currency that Stripe does not list (any more) */
  currency_exponent?: number | null;
  /** The promo code, as an operator wrote it; null: without one */
  code?: string | null;
}

/** What seats of one ticket type would cost. */
export interface QuotedItem {
  /** The ticket type */
  ticket_type_id: string;
  /** How many seats */
  quantity: number;
  /** In the currency's minor unit */
  unit_amount: number;
  /** What the promo code takes off each seat, in the currency's minor unit */
  unit_discount?: number;
  /** The ticket type's title */
  name: string;
}

/** By what a guest comes back on another device. */
export interface RecoveredGuest {
  /** The recovery code, in upper or lower case, with or without the hyphens */
  code: string;
}

/** What the guest writes down to come back to the bookings on another device. It is shown this once. */
export interface RecoveryCode {
  /** Good for one use. It replaces the guest's code before */
  code: string;
  /** Until when it is good */
  expires_at: Time;
}

/** A refund of a booking's charge: https://docs.stripe.com/api/refunds/object. */
export interface Refund {
  /** Ours */
  id: string;
  /** In the currency's minor unit */
  amount: number;
  /** `owed`: not taken up by the payment actor yet; `requested`: not made by Stripe yet; then as Stripe has it: `pending`, `succeeded` or `failed`. Of a booking that was sold at the box office always `succeeded` */
  status: string;
  /** Why it failed: Stripe's reason or error code, `amount_too_large` or `nothing_left` */
  reason?: string | null;
  /** Why it is not made yet: Stripe's reason, or the code with which Stripe refuses it for now */
  pending_reason?: string | null;
  /** The subject that asked for it; null: nobody did, the system owes it, or it was made by hand at Stripe */
  by?: string | null;
  /** Somebody made it at Stripe, without Holdfast */
  by_hand?: boolean;
  /** Stripe's id; null until Stripe has made it */
  stripe_refund_id?: string | null;
  /** When the payment actor took it up, or an operator noted it; null while it is owed */
  created_at?: Time | null;
  /** When it changed last */
  updated_at?: Time | null;
}

/** How far an operator's request to retry all failed refunds of an event has come. */
export interface RefundRetry {
  /** Made from the operator's Idempotency-Key */
  id: string;
  /** The event */
  event_id: string;
  /** When the operator asked */
  asked_at: Time;
  /** The subject of the operator's token; null where that is not known */
  by?: string | null;
  /** Bookings whose refund is tried again */
  refunds: number;
  /** Not tried again yet */
  remaining: number;
  /** Owed, taken up, or waiting at Stripe */
  under_way: number;
  /** Given back */
  succeeded: number;
  /** Failed again */
  failed: number;
  /** None is remaining or under way */
  finished: boolean;
}

/** Bookings that were paid and are cancelled, counted by the state of their refunds. */
export interface Refunds {
  /** Not taken up by the payment actor yet */
  owed: number;
  /** Taken up; Stripe has still to answer */
  under_way: number;
  /** Stripe has it and waits, as for our balance, or refuses it for now and is asked again: `payment.refund_waiting` of each booking says for what */
  waiting?: number;
  /** Given back in full */
  succeeded: number;
  /** Money is left and nobody gives it back by itself: an operator has to */
  failed: number;
  /** The customer's bank decides about the money */
  disputed: number;
}

/** Why Stripe refused to make an intent, in Stripe's words: https://docs.stripe.com/api/errors. */
export interface Rejection {
  /** Stripe's code of the error; any text of Stripe's */
  code: string;
  /** Stripe's text, for developers */
  message?: string | null;
  /** The parameter of the request that it is about */
  param?: string | null;
  /** Stripe's id of the request, by which its dashboard and its support find it */
  request_id?: string | null;
}

/** Deliveries that are sent again. */
export interface Repeated {
  /** How many */
  deliveries: number;
  /** Whether there are more: then send the request again, with another key */
  more: boolean;
}

/** Tokens that are refused because an operator has revoked them: one by its id, or all that a subject had. */
export interface Revocation {
  /** The token's id; null: the tokens of `subject` are revoked */
  jti?: string | null;
  /** Whose tokens are revoked; null: the one token `jti` is */
  subject?: string | null;
  /** When that was last asked for. Of a `subject` those are revoked that were issued until then */
  revoked_at: Time;
  /** When these tokens end by themselves: the revocation is forgotten after that */
  expires_at: Time;
  /** The subject of the operator who last asked for it */
  by?: string | null;
}

/** A page of a list: each item is a `Revocation`. */
export interface RevocationPage {
  /** What is on this page, in the order of the list */
  items: Revocation[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** A URL to which webhooks are sent, with the secret that has just been made for it. */
export interface SecretWebhookEndpoint {
  /** Its id */
  id: string;
  /** Where to */
  url: string;
  /** What it is for, in the operators' words */
  description?: string | null;
  /** What it gets; null: all, also types that later releases add */
  types?: WebhookType[] | null;
  /** Why it gets nothing at present; null: it is enabled */
  disabled_reason?: WebhookDisabledReason | null;
  /** Since when it gets nothing */
  disabled_at?: Time | null;
  /** Since when every attempt has failed; null: the last one has not */
  failing_since?: Time | null;
  /** What is signed with, oldest first: each at once */
  secrets: WebhookSecret[];
  /** Grows with each change of it: the `ETag` */
  version: number;
  /** When it was made: it gets what happens from then on */
  created_at: Time;
  /** When `version` grew last */
  updated_at: Time;
  /** What the receiver verifies with: the newest of `secrets`. It is shown this once, and to the same request with the same Idempotency-Key again while it is in use; null after that */
  secret?: string | null;
}

/** A public key that checks codes: RFC 8037. */
export interface SigningKey {
  kty: "OKP";
  crv: "Ed25519";
  use: "sig";
  alg: "EdDSA";
  /** The key's id in codes, as 8 hexadecimal digits */
  kid: string;
  /** The key, 32 bytes in base64url */
  x: string;
}

/** A JSON Web Key Set (RFC 7517): the keys that check codes, the one that signs first. */
export interface SigningKeys {
  /** None on an installation without a signing key */
  keys: SigningKey[];
}

/** One seat of a booking that is, or was, confirmed. */
export interface Ticket {
  /** Its id */
  id: string;
  /** The ticket type */
  ticket_type_id: string;
  /** The title of the ticket type */
  ticket_type: string;
  /** Which seat of this ticket type in the booking, counted from 1 */
  number: number;
  state: TicketState;
  /** What the QR code says, signed: who shows it is let in. Null where the booking has ended, and on an installation without a signing key */
  code: string | null;
  /** When somebody was let in by it; null: nobody was */
  used_at?: Time | null;
  /** Only for operators: the check-in that counts */
  check_in?: CheckIn | null;
  /** Where its QR code is as an SVG image. A token is needed, as for everything else */
  svg: string;
  /** Where its QR code is as a PNG image */
  png: string;
}

/** What a ticket says of its event. */
export interface TicketEvent {
  /** The event's id */
  id: string;
  /** Its title */
  name: string;
  /** When it starts */
  starts_at: Time;
  /** When it starts by the venue's clock, with its offset from UTC, as `2030-05-01T21:30:00+02:00` */
  starts_at_local: string;
  /** The venue's, by its IANA name */
  time_zone: string;
  /** Since when it is cancelled, for good */
  called_off_at?: Time | null;
  /** Grows with each change of the event's terms */
  version: number;
  /** Where it is; null if the event does not show it */
  venue?: Venue | null;
}

/** How many seats of one ticket type the booking has. */
export interface TicketSeats {
  /** The ticket type */
  ticket_type_id: string;
  /** Its title */
  name: string;
  /** How many seats */
  quantity: number;
}

/** Whether the ticket lets somebody in. Only `valid` does; `used`: somebody was let in by it; `cancelled` and `refunded`: its booking has ended. Open: values may be added */
export type TicketState = KnownTicketState | (string & {});

/** A kind of seat of one event, with a price and a capacity. */
export interface TicketType {
  /** Its id */
  id: string;
  /** Its title */
  name: string;
  /** The price of one seat, in the currency's minor unit */
  unit_amount: number;
  /** How many seats there are, sold and held ones included */
  capacity: number;
  /** How many seats are free */
  available: number;
  /** Only operators see it, and those who have a promo code that unlocks it: it is nowhere else */
  hidden?: boolean;
}

/** With `id`: changes the fields that are sent. Without: adds a ticket type, which needs all other fields. */
export interface TicketTypePatch {
  /** The ticket type that changes */
  id?: string;
  /** One line with at least one visible character, and no control or bidirectional marks */
  name?: string;
  /** The price of one seat, in the currency's minor unit, for bookings from now on */
  unit_amount?: number;
  /** How many seats there are, sold and held ones included */
  capacity?: number;
  /** Only those see it, and can book it, who have a promo code that unlocks it */
  hidden?: boolean;
}

/** One change of a booking, and what caused it. */
export interface Transition {
  /** The booking's version from then on */
  version: number;
  /** Null for the first change, which made the booking */
  from_status: BookingStatus | null;
  to_status: BookingStatus;
  /** Why it is not, or no longer, confirmed */
  reason: BookingReason | null;
  payment_status: PaymentStatus;
  cause_type: TransitionCause;
  /** The id of the message that caused it; empty where time alone did */
  cause_id: string;
  /** Only for operators: the subject of the token by which somebody asked for it; null: nobody did */
  by?: string | null;
  /** When it happened */
  at: Time;
}

/** The type of the message that made a booking change; `time` where time alone did. Open: values may be added */
export type TransitionCause = KnownTransitionCause | (string & {});

/** A page of a list: each item is a `Transition`. */
export interface TransitionPage {
  /** What is on this page, in the order of the list */
  items: Transition[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Which check-in was a mistake. */
export interface UndoneCheckIn {
  /** The check-in; a refused one names that which came first */
  check_in_id: string;
}

/** Where an event takes place. */
export interface Venue {
  /** What it is called */
  name: string;
  /** Street and number */
  address?: string | null;
  /** As it is written there */
  postal_code?: string | null;
  /** The city or place */
  city?: string | null;
  /** By ISO 3166-1, in two capital letters */
  country?: string | null;
}

/** Somebody waits for seats of a sold-out ticket type. When seats become free, those who wait get an offer in the order in which they joined: a booking, whose seats are held until `offered_until`. */
export interface WaitingEntry {
  /** Made from the Idempotency-Key */
  id: string;
  /** The event */
  event_id: string;
  /** The ticket type */
  ticket_type_id: string;
  /** How many seats are wanted, which are offered together */
  quantity: number;
  /** `waiting`; `offered`: pay the booking `booking_id`, or cancel it; `accepted`: that booking is, or was, confirmed; `lapsed`: it was not paid in time; `left`: the owner no longer waits, or has cancelled the offer; `closed`: there will be no offer, or it was withdrawn: see `reason` */
  status: WaitingStatus;
  /** Why it is `closed`: `event_cancelled`, `sales_ended`, or another code of a problem with which a booking would be refused. After an offer the reason of its booking. Open: values may be added */
  reason?: string | null;
  /** How many entries are up to this one in the line, itself included, when it was read; null once it no longer waits, and in the operators' list, which is in the order of the line */
  position?: number | null;
  /** The booking that was offered; null: none yet */
  booking_id?: string | null;
  /** Until when the seats of the offer are held; null without an open offer */
  offered_until?: Time | null;
  /** When it was made */
  joined_at: Time;
  /** When it changed last */
  updated_at: Time;
  /** Grows with each change, also of the booking; not with the position */
  version: number;
}

/** A page of a list: each item is a `WaitingEntry`. */
export interface WaitingEntryPage {
  /** What is on this page, in the order of the list */
  items: WaitingEntry[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Where an entry of a waiting list is in its life. A row has `waiting`, `offered`, `left` or `closed`: what became of an offer follows from its booking. */
export type WaitingStatus = "waiting" | "offered" | "accepted" | "lapsed" | "left" | "closed";

/** One change that one endpoint is to receive. */
export interface WebhookDelivery {
  /** Its id */
  id: string;
  /** Where to */
  endpoint_id: string;
  /** The `webhook-id`: the same in each attempt and at each endpoint */
  message_id: string;
  type: WebhookType;
  /** The booking or event that has changed */
  resource_id: string;
  /** Its version since: of an event `terms_version` */
  version: number;
  /** When it changed */
  happened_at: Time;
  /** When the delivery was made */
  made_at: Time;
  status: DeliveryStatus;
  /** How often it was sent */
  attempts: number;
  /** When it is sent again, at the earliest; null: not any more */
  next_attempt_at?: Time | null;
  /** When it was sent last */
  last_attempt_at?: Time | null;
  /** The HTTP status of the last answer; null: there was none */
  response_status?: number | null;
  /** The beginning of the last answer's body, where the status was not 2xx */
  response?: string | null;
  /** Why the last attempt failed; null: it did not */
  error?: string | null;
}

/** A page of a list: each item is a `WebhookDelivery`. */
export interface WebhookDeliveryPage {
  /** What is on this page, in the order of the list */
  items: WebhookDelivery[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Why an endpoint gets nothing: an operator wants it so, it has answered 410 Gone, or it has failed for days. Open: values may be added */
export type WebhookDisabledReason = KnownWebhookDisabledReason | (string & {});

/** A URL to which webhooks are sent. */
export interface WebhookEndpoint {
  /** Its id */
  id: string;
  /** Where to */
  url: string;
  /** What it is for, in the operators' words */
  description?: string | null;
  /** What it gets; null: all, also types that later releases add */
  types?: WebhookType[] | null;
  /** Why it gets nothing at present; null: it is enabled */
  disabled_reason?: WebhookDisabledReason | null;
  /** Since when it gets nothing */
  disabled_at?: Time | null;
  /** Since when every attempt has failed; null: the last one has not */
  failing_since?: Time | null;
  /** What is signed with, oldest first: each at once */
  secrets: WebhookSecret[];
  /** Grows with each change of it: the `ETag` */
  version: number;
  /** When it was made: it gets what happens from then on */
  created_at: Time;
  /** When `version` grew last */
  updated_at: Time;
}

/** A page of a list: each item is a `WebhookEndpoint`. */
export interface WebhookEndpointPage {
  /** What is on this page, in the order of the list */
  items: WebhookEndpoint[];
  /** Where the next page begins; null on the last one */
  next_cursor?: string | null;
}

/** Changes the fields that are sent. */
export interface WebhookEndpointPatch {
  /** Begins with `https://`, unless the installation allows others */
  url?: string;
  /** What it is for */
  description?: string | null;
  /** What it gets; null: all, also types that later releases add */
  types?: ("booking.confirmed" | "booking.cancelled" | "booking.failed" | "booking.refunded" | "booking.refund_failed" | "booking.disputed" | "booking.customer_changed" | "waiting_list.offered" | "event.created" | "event.changed" | "event.cancelled")[] | null;
  /** False: it gets nothing, until it is enabled again; what waits for it then is sent */
  enabled?: boolean;
}

/** A secret by which what an endpoint gets is signed; the secret itself is shown once, when it is made. */
export interface WebhookSecret {
  /** When it was made */
  made_at: Time;
  /** Until when it is used beside newer ones; null: until the next rotation */
  ends_at?: Time | null;
}

/** What a webhook is about. Open: values may be added */
export type WebhookType = KnownWebhookType | (string & {});

export interface ListEventsQuery {
  /** How many events the page has at most */
  limit?: number;
  /** `starts_at`: the earliest first; `-starts_at`: the latest first; `name`: by name, without regard to case and accents */
  sort?: "starts_at" | "-starts_at" | "name";
  /** `next_cursor` of the page before, in the same order */
  cursor?: string;
  /** Only events that start then or later. Left out: future events; on a further page of `sort=starts_at` the events that follow */
  from?: TimeLike;
  /** Only events that start before that time */
  to?: TimeLike;
  /** Only events whose name contains this, without regard to case and accents */
  q?: string;
  /** Only events of this category, without regard to case and accents */
  category?: string;
  /** `true`: only events that can be booked now, by their dates and `on_sale`, sold out or not; `false`: only the others */
  on_sale?: boolean;
}

export interface GetEventQuery {
  /** A promo code: the answer has the hidden ticket types that it unlocks, and is not cached */
  code?: string;
}

export interface GetEventImageQuery {
  /** The image's hash, as in its `url`: the answer may then be cached for ever. Left out, or of another image: for a short time */
  v?: string;
}

export interface ListBookingsQuery {
  /** How many there are on a page at most. Default: `50` */
  limit?: number;
  /** `next_cursor` of the page before */
  cursor?: string;
  /** Bookings with this status alone */
  status?: BookingStatus;
  /** Bookings of this event alone */
  event_id?: string;
}

export interface GetDoorQuery {
  /** `mark` of the answer before: only changes since then. Left out: all */
  since?: string;
  /** About how many changed tickets are on a page at most. Default: `500` */
  limit?: number;
}

export interface AdminListEventsQuery {
  /** How many there are on a page at most. Default: `50` */
  limit?: number;
  /** `next_cursor` of the page before */
  cursor?: string;
  /** Events with this status alone */
  status?: EventStatus;
  /** Only events that start then or later. Left out: future events, for operators also those that started within a day; on a further page the events that follow */
  from?: TimeLike;
}

export interface ListPromoCodesQuery {
  /** How many there are on a page at most. Default: `50` */
  limit?: number;
  /** `next_cursor` of the page before */
  cursor?: string;
  /** This code alone, without regard to case, spaces and hyphens */
  code?: string;
}

export interface AdminListBookingsQuery {
  /** How many there are on a page at most. Default: `50` */
  limit?: number;
  /** `next_cursor` of the page before */
  cursor?: string;
  /** Bookings with this status alone */
  status?: BookingStatus;
  /** Bookings of this event alone */
  event_id?: string;
  /** Bookings of this owner alone */
  owner?: string;
  /** The payment's status: `refund_failed` and `disputed` need an operator */
  payment?: PaymentStatus;
  /** None that was made before */
  created_from?: TimeLike;
  /** None that was made then or later */
  created_before?: TimeLike;
  /** Bookings with this reference: mostly one. In upper or lower case, with or without `HF` and hyphens */
  reference?: string;
  /** Bookings whose customer's name has a word that begins like this, whatever its case; of several words, one for each */
  name?: string;
  /** Bookings whose customer has this email address, whatever its case */
  email?: string;
  /** The booking with this PaymentIntent, by Stripe's id */
  intent?: string;
}

export interface ExportBookingsQuery {
  /** Bookings of this event alone */
  event_id?: string;
  /** Bookings with this status alone */
  status?: BookingStatus;
  /** Bookings whose money stands so alone */
  payment?: PaymentStatus;
  /** None that was made before */
  created_from?: TimeLike;
  /** None that was made then or later */
  created_before?: TimeLike;
}

export interface ExportSeatsQuery {
  /** Bookings of this event alone */
  event_id?: string;
  /** Bookings with this status alone */
  status?: BookingStatus;
  /** Bookings whose money stands so alone */
  payment?: PaymentStatus;
  /** None that was made before */
  created_from?: TimeLike;
  /** None that was made then or later */
  created_before?: TimeLike;
}

export interface ExportMoneyQuery {
  /** Bookings of this event alone */
  event_id?: string;
  /** Bookings with this status alone */
  status?: BookingStatus;
  /** Bookings whose money stands so alone */
  payment?: PaymentStatus;
  /** None that was made before */
  created_from?: TimeLike;
  /** None that was made then or later */
  created_before?: TimeLike;
}

export interface ListWebhookDeliveriesQuery {
  /** How many there are on a page at most. Default: `50` */
  limit?: number;
  /** `next_cursor` of the page before */
  cursor?: string;
  /** Deliveries with this status alone */
  status?: DeliveryStatus;
}

/** What each operation answers. */
export interface Answers {
  "POST /auth/guest": GuestToken;
  "POST /auth/guest/renew": GuestToken;
  "POST /auth/guest/recovery-code": RecoveryCode;
  "POST /auth/guest/recover": GuestToken;
  "POST /auth/guest/link": GuestToken;
  "GET /events": EventPage;
  "GET /events/{id}": EventDetails;
  "GET /events/{id}/image": Blob;
  "POST /bookings": Booking;
  "GET /bookings": BookingPage;
  "POST /quotes": Quote;
  "GET /bookings/{id}": Booking;
  "GET /bookings/{id}/history": TransitionPage;
  "POST /bookings/{id}/cancel": Booking;
  "PUT /bookings/{id}/customer": Booking;
  "POST /waiting-list": WaitingEntry;
  "GET /waiting-list": WaitingEntryPage;
  "GET /waiting-list/{id}": WaitingEntry;
  "POST /waiting-list/{id}/leave": WaitingEntry;
  "POST /payment/create-intent": PaymentIntent;
  "GET /bookings/{id}/tickets": BookingTickets;
  "GET /bookings/{id}/tickets/{ticket_id}.svg": Blob;
  "GET /bookings/{id}/tickets/{ticket_id}.png": Blob;
  "GET /bookings/{id}/calendar.ics": Blob;
  "GET /tickets/keys": SigningKeys;
  "POST /admin/tickets/check-in": CheckIn;
  "POST /admin/tickets/check-ins": CheckInResults;
  "POST /admin/tickets/undo": CheckIn;
  "GET /admin/events/{id}/door": Door;
  "GET /admin/attention": Attention;
  "GET /admin/events": OperatorsEventPage;
  "POST /admin/events": Event;
  "GET /admin/events/{id}": OperatorsEventDetails;
  "PATCH /admin/events/{id}": Event;
  "GET /admin/events/{id}/waiting-list": OperatorsWaitingEntryPage;
  "GET /admin/events/{id}/history": EventChangePage;
  "POST /admin/events/preview-description": DescriptionPreview;
  "GET /admin/events/{id}/image": Blob;
  "PUT /admin/events/{id}/image": Event;
  "DELETE /admin/events/{id}/image": Event;
  "GET /admin/events/{id}/codes": PromoCodePage;
  "POST /admin/events/{id}/codes": PromoCodes;
  "PATCH /admin/events/{id}/codes/{code_id}": PromoCode;
  "POST /admin/events/{id}/cancel": Event;
  "POST /admin/events/{id}/refunds/retry": RefundRetry;
  "GET /admin/bookings": BookingPage;
  "POST /admin/bookings": Booking;
  "POST /admin/bookings/{id}/refund": Booking;
  "GET /admin/bookings/{id}/mails": MailPage;
  "POST /admin/bookings/{id}/mails": Mail;
  "GET /admin/exports/bookings.csv": Blob;
  "GET /admin/exports/seats.csv": Blob;
  "GET /admin/exports/money.csv": Blob;
  "POST /admin/customers/erase": Erasure;
  "POST /admin/tokens/revoke": Revocation;
  "GET /admin/tokens/revoked": RevocationPage;
  "GET /admin/webhook-endpoints": WebhookEndpointPage;
  "POST /admin/webhook-endpoints": SecretWebhookEndpoint;
  "GET /admin/webhook-endpoints/{id}": WebhookEndpoint;
  "PATCH /admin/webhook-endpoints/{id}": WebhookEndpoint;
  "DELETE /admin/webhook-endpoints/{id}": WebhookEndpoint;
  "POST /admin/webhook-endpoints/{id}/secrets": SecretWebhookEndpoint;
  "GET /admin/webhook-endpoints/{id}/deliveries": WebhookDeliveryPage;
  "POST /admin/webhook-endpoints/{id}/repeat": Repeated;
  "GET /admin/webhook-deliveries/{id}": WebhookDelivery;
  "POST /admin/webhook-deliveries/{id}/repeat": WebhookDelivery;
}
