/**
 * What the interface sends and takes, by the names of its OpenAPI document, which says what each member means.
 * `tests/clients/test_types.py` compares the two.
 */

/** One of these values, or one that a later release adds. */
export type Open<Known extends string> = Known | (string & {});
/** RFC 3339, in UTC. */
export type Time = string;
/** Where a time is sent: a text or a Date. */
export type TimeLike = string | Date;

// --- bookings ---------------------------------------------------------------------------------------------

export type BookingStatus = "pending" | "confirmed" | "cancelled" | "failed";
export type PaymentStatus =
  | "none"
  | "creating"
  | "awaiting"
  | "action_required"
  | "processing"
  | "paid"
  | "refund_pending"
  | "partially_refunded"
  | "refunded"
  | "refund_failed"
  | "disputed";
export type BookingReason = Open<
  | "by_customer"
  | "by_operator"
  | "event_cancelled"
  | "hold_expired"
  | "payment_canceled"
  | "payment_mismatch"
  | "payment_rejected"
  | "refunded"
  | "sold_out"
>;

/** One customer's seats at one event, from the request to its end. */
export interface Booking {
  kind: "booking";
  id: string;
  owner?: string | null;
  event_id: string;
  items: Item[];
  /** In the currency's minor unit. */
  amount: number;
  currency: string;
  currency_exponent?: number | null;
  status: BookingStatus;
  reason?: BookingReason | null;
  payment: PaymentSummary;
  version: number;
  /** Until when the seats are held, while the booking is pending. */
  expires_at?: Time | null;
  hold_until?: Time | null;
  closing?: BookingReason | null;
  created_at: Time;
  updated_at: Time;
}

export interface Item {
  ticket_type_id: string;
  quantity: number;
  unit_amount: number;
}

export interface PaymentSummary {
  status: PaymentStatus;
  intent_id?: string | null;
  client_secret?: string | null;
  last_error?: PaymentError | null;
  /** While `creating`: how many bookings wait in front of this one. */
  queue_position?: number | null;
  deferred?: boolean;
  attempts?: number;
  amount_captured?: number;
  amount_refunded?: number;
  /** This and what follows: only for operators. */
  refund_waiting?: string | null;
  refund_error?: string | null;
  disputes?: Dispute[] | null;
  refunds?: Refund[] | null;
  rejection?: Rejection | null;
}

export interface PaymentError {
  code: string;
  decline_code?: string | null;
  message?: string | null;
}

export interface Dispute {
  id: string;
  status: string;
  amount?: number | null;
  currency?: string | null;
  reason?: string | null;
  opened_at?: Time | null;
  respond_by?: Time | null;
}

export interface Refund {
  id: string;
  amount: number;
  status: string;
  reason?: string | null;
  pending_reason?: string | null;
  by?: string | null;
  by_hand?: boolean;
  stripe_refund_id?: string | null;
  created_at?: Time | null;
  updated_at?: Time | null;
}

export interface Rejection {
  code: string;
  message?: string | null;
  param?: string | null;
  request_id?: string | null;
}

/** What Stripe.js needs to let the customer pay. */
export interface PaymentIntent {
  booking_id: string;
  payment_intent_id: string;
  client_secret: string;
  amount: number;
  currency: string;
  currency_exponent?: number | null;
  publishable_key?: string | null;
}

export interface Transition {
  version: number;
  from_status: BookingStatus | null;
  to_status: BookingStatus;
  reason: BookingReason | null;
  payment_status: PaymentStatus;
  cause_type: string;
  cause_id: string;
  by?: string | null;
  at: Time;
}

/** Which seats: exactly one of `items` and, where the event has a single ticket type, `quantity`. */
export interface NewBooking {
  event_id: string;
  items?: NewBookingItem[] | null;
  quantity?: number | null;
  /** At another price the request is refused with `price_changed`. */
  expected_amount?: number | null;
}

export interface NewBookingItem {
  ticket_type_id: string;
  quantity: number;
}

export interface NewRefund {
  /** Left out: all that is left. */
  amount?: number | null;
}

// --- events -----------------------------------------------------------------------------------------------

export type PaymentMethods = "instant" | "all";

/** A performance for which seats are sold. */
export interface Event {
  id: string;
  name: string;
  starts_at: Time;
  time_zone?: string;
  currency: string;
  currency_exponent?: number | null;
  on_sale: boolean;
  sales_start?: Time | null;
  sales_end?: Time | null;
  sell_after_start?: boolean;
  cancel_after_start?: boolean;
  ticket_types: TicketType[];
  max_per_booking: number;
  max_per_owner?: number | null;
  cancel_until?: Time | null;
  called_off_at?: Time | null;
  payment_methods?: PaymentMethods;
  slow_payments_until?: Time | null;
  version?: number;
  /** For `ifMatch`. */
  terms_version?: number | null;
}

export interface TicketType {
  id: string;
  name: string;
  unit_amount: number;
  capacity: number;
  available: number;
}

export interface OperatorsEvent extends Event {
  ticket_types: OperatorsTicketType[];
  progress?: Progress | null;
  refund_retry?: RefundRetry | null;
}

export interface OperatorsTicketType extends TicketType {
  held: number;
  sold: number;
}

/** How far the cancellation of an event has come. */
export interface Progress {
  bookings: number;
  cancelled: number;
  refunds: Refunds;
  finished: boolean;
}

export interface Refunds {
  owed: number;
  under_way: number;
  waiting?: number;
  succeeded: number;
  failed: number;
  disputed: number;
}

export interface RefundRetry {
  id: string;
  event_id: string;
  asked_at: Time;
  by?: string | null;
  refunds: number;
  remaining: number;
  under_way: number;
  succeeded: number;
  failed: number;
  finished: boolean;
}

export interface EventChange {
  version: number;
  what: string;
  changes: FieldChange[] | null;
  by: string | null;
  at: Time;
}

export interface FieldChange {
  field: string;
  ticket_type_id?: string | null;
  old: string | number | boolean | null;
  new: string | number | boolean | null;
}

export interface NewEvent {
  name: string;
  starts_at: TimeLike;
  time_zone?: string;
  currency: string;
  on_sale?: boolean;
  sales_start?: TimeLike | null;
  sales_end?: TimeLike | null;
  sell_after_start?: boolean;
  max_per_booking?: number;
  max_per_owner?: number | null;
  cancel_until?: TimeLike | null;
  cancel_after_start?: boolean;
  payment_methods?: PaymentMethods;
  slow_payments_until?: TimeLike | null;
  ticket_types: NewEventTicketType[];
}

export interface NewEventTicketType {
  name: string;
  unit_amount: number;
  capacity: number;
}

/** Changes the members that are sent. */
export interface EventPatch {
  name?: string;
  starts_at?: TimeLike;
  time_zone?: string;
  on_sale?: boolean;
  sales_start?: TimeLike | null;
  sales_end?: TimeLike | null;
  sell_after_start?: boolean;
  max_per_booking?: number;
  max_per_owner?: number | null;
  cancel_until?: TimeLike | null;
  cancel_after_start?: boolean;
  payment_methods?: PaymentMethods;
  slow_payments_until?: TimeLike | null;
  ticket_types?: TicketTypePatch[];
}

/** With `id`: changes the members that are sent. Without: adds a ticket type. */
export interface TicketTypePatch {
  id?: string;
  name?: string;
  unit_amount?: number;
  capacity?: number;
}

// --- tokens -----------------------------------------------------------------------------------------------

/** Who has the token owns what is booked with it. */
export interface GuestToken {
  token: string;
  subject: string;
  expires_at: Time;
}

export interface NewGuest {
  proof?: string | null;
}

export interface RecoveryCode {
  code: string;
  expires_at: Time;
}

/** Exactly one of `jti` and `subject`. */
export interface NewRevocation {
  jti?: string | null;
  subject?: string | null;
  expires_at?: TimeLike | null;
}

export interface Revocation {
  jti?: string | null;
  subject?: string | null;
  revoked_at: Time;
  expires_at: Time;
  by?: string | null;
}

// --- lists and errors -------------------------------------------------------------------------------------

export interface Page<T> {
  items: T[];
  next_cursor?: string | null;
}

export interface PageQuery {
  limit?: number;
  cursor?: string;
}

export interface EventsQuery extends PageQuery {
  sort?: "starts_at" | "-starts_at" | "name";
  from?: TimeLike;
  to?: TimeLike;
  q?: string;
  on_sale?: boolean;
}

export interface AdminEventsQuery extends PageQuery {
  from?: TimeLike;
}

export interface BookingsQuery extends PageQuery {
  status?: BookingStatus;
  event_id?: string;
}

export interface AdminBookingsQuery extends BookingsQuery {
  owner?: string;
  payment?: PaymentStatus;
  created_from?: TimeLike;
  created_before?: TimeLike;
}

/** RFC 9457, with the further members that some codes have. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  errors?: FieldError[] | null;
  limited_by?: string | null;
  scope?: string | null;
  limit?: number | null;
  sales_start?: Time | null;
  sales_end?: Time | null;
  amount?: number | null;
  expected_amount?: number | null;
  max_per_owner?: number | null;
  currency?: string | null;
  booking_id?: string | null;
  reason?: BookingReason | null;
  booking_status?: BookingStatus | null;
  payment_status?: PaymentStatus | null;
  closing?: BookingReason | null;
  queue_position?: number | null;
  etag?: string | null;
  retry_after?: number | null;
}

export interface FieldError {
  loc: (string | number)[];
  msg: string;
  type: string;
  limit?: number | string | null;
}
