/** Every error of Holdfast's. An aborted call is rejected with the reason of its signal instead. */
export class HoldfastError extends Error {
    /**
     * @param {string} code
     * @param {string} message
     * @param {{ status?: number, problem?: Types.Problem | null, retryAfter?: number | null, retryable?: boolean,
     *   cause?: unknown }} [more]
     */
    constructor(code: string, message: string, { status, problem, retryAfter, retryable, cause }?: {
        status?: number;
        problem?: Types.Problem | null;
        retryAfter?: number | null;
        retryable?: boolean;
        cause?: unknown;
    });
    /**
     * The problem's stable code, as `sold_out`. This client's own: `unreachable` (no answer came), `queued` (it is
     * still not known whether there are seats), `http_502` and the like (an answer that is no problem document),
     * `closed` (`close()` was called), `refused` (the gateway has closed the socket because of what was sent).
     */
    code: string;
    /** The HTTP status; 0 where there was no answer. */
    status: number;
    /** The whole problem document, if there was one. */
    problem: Types.Problem | null;
    /** In seconds, where the gateway said so. */
    retryAfter: number | null;
    /** Whether the same can succeed later. */
    retryable: boolean;
    /** Whether the request certainly has no other outcome than this error, so that its key is not needed again. */
    get final(): boolean;
}
export function isWaiting(booking: Types.Booking): boolean;
export function isPayable(booking: Types.Booking): boolean;
export function isDecided(booking: Types.Booking): boolean;
/**
 * A list: `await` gives its first page, `for await` all of its items.
 * @template T
 * @implements {PromiseLike<Types.Page<T>>}
 * @implements {AsyncIterable<T>}
 */
export class Listing<T> implements PromiseLike<Types.Page<T>>, AsyncIterable<T> {
    /** @param {(cursor?: string) => Promise<Types.Page<T>>} read */
    constructor(read: (cursor?: string) => Promise<Types.Page<T>>);
    /**
     * @template [A=Types.Page<T>]
     * @template [B=never]
     * @param {((page: Types.Page<T>) => A | PromiseLike<A>) | null} [done]
     * @param {((error: any) => B | PromiseLike<B>) | null} [failed]
     */
    then<A = Types.Page<T>, B = never>(done?: ((page: Types.Page<T>) => A | PromiseLike<A>) | null, failed?: ((error: any) => B | PromiseLike<B>) | null): Promise<A | B>;
    /** @returns {AsyncGenerator<T, void, undefined>} */
    [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined>;
    #private;
}
/**
 * Whether live changes come now; where they do not: the close code, and the milliseconds until the next try.
 * @typedef {{ open: true } | { open: false, code: number, retryInMs: number }} ConnectionState
 */
/**
 * A client of one gateway, for one customer or operator.
 *
 * Event `connection`: a CustomEvent whose `detail` is a ConnectionState.
 */
export class Holdfast extends EventTarget {
    /** @param {Options} [options] */
    constructor(options?: Options);
    /** What operators do. */
    admin: Admin;
    /**
     * Goes on as the guest whose token is kept, or becomes a new one; returns the guest's subject. With
     * `create: false` null where there is no guest yet. `unauthorized` where the token that is kept has ended: then
     * `recover` or `openLink` leads back to the bookings, and `forgetGuest` makes room for another guest.
     * @param {Call & { proof?: string, create?: boolean }} [call]
     * @returns {Promise<string | null>}
     */
    guest({ proof, create, signal }?: Call & {
        proof?: string;
        create?: boolean;
    }): Promise<string | null>;
    /** The token in use, renewed where needed; null: there is none. @returns {Promise<string | null>} */
    token(): Promise<string | null>;
    /** Forgets the guest: without a recovery code or a link there is no way back to the bookings. */
    forgetGuest(): Promise<void>;
    /**
     * A code by which the guest comes back on another device; the one before is not good any more.
     * @param {Call} [call]
     */
    recoveryCode(call?: Call): Promise<Types.RecoveryCode>;
    /**
     * Comes back as the guest whose code it is; returns the subject.
     * @param {string} code
     * @param {KeyedCall} [call]
     */
    recover(code: string, call?: KeyedCall): Promise<string>;
    /**
     * Comes back as the guest of a booking, by the link in a mail about it (`/b/{reference}#link={token}`); returns the
     * subject.
     * @param {Types.LinkedGuest} link
     * @param {Call} [call]
     */
    openLink(link: Types.LinkedGuest, call?: Call): Promise<string>;
    /** @param {Types.ListEventsQuery} [query] @param {Call} [call] */
    events(query?: Types.ListEventsQuery, call?: Call): Listing<Types.Event>;
    /**
     * With a promo code in `query` also what that unlocks.
     * @param {string} id
     * @param {Types.GetEventQuery & Call} [call]
     */
    event(id: string, { code, ...call }?: Types.GetEventQuery & Call): Promise<Types.EventDetails>;
    /**
     * The image of an event, a WebP. A page shows it by the `url` in the event's `image`.
     * @param {string} id
     * @param {Types.GetEventImageQuery} [query]
     * @param {Call} [call]
     */
    eventImage(id: string, query?: Types.GetEventImageQuery, call?: Call): Promise<Blob>;
    /**
     * What seats would cost, with a promo code or without. Nothing is held.
     * @param {Types.NewQuote} seats
     * @param {Call} [call]
     */
    quote(seats: Types.NewQuote, call?: Call): Promise<Types.Quote>;
    /**
     * Books seats; resolves once there is a booking. It can be paid, or waits for that (`isWaiting`).
     * @param {Types.NewBooking} booking
     * @param {KeyedCall & { wait?: number }} [call] `wait`: how many seconds the gateway waits until the
     *   booking can be paid
     */
    book(booking: Types.NewBooking, call?: KeyedCall & {
        wait?: number;
    }): Promise<Types.Booking>;
    /** @param {Types.ListBookingsQuery} [query] @param {Call} [call] */
    bookings(query?: Types.ListBookingsQuery, call?: Call): Listing<Types.Booking>;
    /** @param {string} id @param {Call} [call] */
    booking(id: string, call?: Call): Promise<Types.Booking>;
    /** @param {string} id @param {Call} [call] */
    history(id: string, call?: Call): Listing<Types.Transition>;
    /** @param {string} id @param {MatchedCall} [call] */
    cancel(id: string, call?: MatchedCall): Promise<Types.Booking>;
    /**
     * Sets whom a booking is for, whatever became of it.
     * @param {string} id
     * @param {Types.NewCustomer} customer
     * @param {MatchedCall} [call]
     */
    setCustomer(id: string, customer: Types.NewCustomer, call?: MatchedCall): Promise<Types.Booking>;
    /**
     * Waits for seats of a sold-out ticket type. An offer is a booking: `booking_id` of the entry.
     * @param {Types.NewWaitingEntry} entry
     * @param {KeyedCall} [call]
     */
    joinWaitingList(entry: Types.NewWaitingEntry, call?: KeyedCall): Promise<Types.WaitingEntry>;
    /** @param {Types.PageQuery} [query] @param {Call} [call] */
    waitingEntries(query?: Types.PageQuery, call?: Call): Listing<Types.WaitingEntry>;
    /** @param {string} id @param {Call} [call] */
    waitingEntry(id: string, call?: Call): Promise<Types.WaitingEntry>;
    /** Waits no longer. An offer is declined by `cancel`. @param {string} id @param {Call} [call] */
    leaveWaitingList(id: string, call?: Call): Promise<Types.WaitingEntry>;
    /**
     * What Stripe.js needs to let the customer pay.
     * @param {string} bookingId
     * @param {Call} [call]
     */
    paymentIntent(bookingId: string, call?: Call): Promise<Types.PaymentIntent>;
    /**
     * The tickets of a booking, with its event: all that a page to print them needs.
     * @param {string} id
     * @param {Types.PageQuery} [query]
     * @param {Call} [call]
     */
    tickets(id: string, query?: Types.PageQuery, call?: Call): Promise<Types.BookingTickets>;
    /** A ticket's QR code as SVG. @param {string} id @param {string} ticketId @param {Call} [call] */
    ticketSvg(id: string, ticketId: string, call?: Call): Promise<Blob>;
    /** A ticket's QR code as PNG. @param {string} id @param {string} ticketId @param {Call} [call] */
    ticketPng(id: string, ticketId: string, call?: Call): Promise<Blob>;
    /** The booking's entry for a calendar, an iCalendar file. @param {string} id @param {Call} [call] */
    calendar(id: string, call?: Call): Promise<Blob>;
    /** The public keys that check tickets' codes. @param {Call} [call] */
    ticketKeys(call?: Call): Promise<Types.SigningKeys>;
    /**
     * The booking as it is now, then with each change, until the loop is left or the signal aborted. While it waits
     * for its intent, `payment.queue_position` falls. Of states that follow each other at once only the last may come.
     * @param {string | Types.Booking} booking
     * @param {Call} [call]
     * @returns {AsyncGenerator<Types.Booking, void, undefined>}
     */
    watch(booking: string | Types.Booking, { signal }?: Call): AsyncGenerator<Types.Booking, void, undefined>;
    /**
     * The event as it is now, then with each change of it and of its free seats; for operators an OperatorsEvent.
     * @template {Types.Event} [E=Types.Event]
     * @param {string | Types.Event} event
     * @param {Call} [call]
     * @returns {AsyncGenerator<E, void, undefined>}
     */
    watchEvent<E extends Types.Event = Types.Event>(event: string | Types.Event, { signal }?: Call): AsyncGenerator<E, void, undefined>;
    /**
     * An entry of this customer's in a waiting list, as it is now, then when it gets an offer, is left or closed. What
     * becomes of an offer is told by its booking, and the position changes without a message: both are to be read.
     * @param {string | Types.WaitingEntry} entry
     * @param {Call} [call]
     * @returns {AsyncGenerator<Types.WaitingEntry, void, undefined>}
     */
    watchWaitingEntry(entry: string | Types.WaitingEntry, { signal }?: Call): AsyncGenerator<Types.WaitingEntry, void, undefined>;
    /**
     * The booking, once `predicate` is true of it. It should also be true where the booking has ended otherwise.
     * @param {string | Types.Booking} booking
     * @param {(booking: Types.Booking) => boolean} predicate
     * @param {Call} [call]
     * @returns {Promise<Types.Booking>}
     */
    waitUntil(booking: string | Types.Booking, predicate: (booking: Types.Booking) => boolean, call?: Call): Promise<Types.Booking>;
    /** Closes the socket; loops that watch something end. */
    close(): void;
    /**
     * Sends a request, several times if need be, and returns the answer.
     * @template {string} O
     * @param {O} operation Method and path, as "GET /events/{id}"
     * @param {Sent} [sent]
     * @returns {Promise<Types.Answer<O>>}
     */
    request<O extends string>(operation: O, sent?: Sent): Promise<Types.Answer<O>>;
    /**
     * `request` with an Idempotency-Key, which is kept until the outcome is known.
     * @template {string} O
     * @param {O} operation
     * @param {Sent} [sent]
     * @returns {Promise<Types.Answer<O>>}
     */
    keyed<O extends string>(operation: O, sent?: Sent): Promise<Types.Answer<O>>;
    /**
     * A list of any operation.
     * @template {string} O
     * @param {O} operation
     * @param {Sent} [sent]
     * @returns {Listing<Types.Listed<O>>}
     */
    list<O extends string>(operation: O, sent?: Sent): Listing<Types.Listed<O>>;
    #private;
}
/**
 * Where something is kept beyond this page: `localStorage`, `sessionStorage`, or an object with the same methods,
 * which may return promises.
 */
export type StorageLike = {
    getItem: (name: string) => string | null | Promise<string | null>;
    setItem: (name: string, value: string) => unknown;
    removeItem: (name: string) => unknown;
};
/**
 * Timers and the time in milliseconds, for tests.
 */
export type Clock = {
    now: () => number;
    setTimeout: (run: () => void, ms: number) => any;
    clearTimeout: (timer: any) => void;
};
/**
 * A token, with its end where that is known: it is then renewed when half of its time is over.
 */
export type GivenToken = string | {
    token: string;
    expires_at?: string;
};
export type Options = {
    /**
     * Where the gateway is; left out: where this module was loaded from.
     */
    url?: string | undefined;
    /**
     * Of a customer who signs in, or of an
     * operator; a function is called for the first token, and whenever another is needed. Left out: guests.
     */
    token?: string | (() => GivenToken | Promise<GivenToken>) | undefined;
    /**
     * Keeps the guest's token and the keys of unfinished requests; left out: memory.
     */
    storage?: StorageLike | undefined;
    fetch?: typeof fetch | undefined;
    WebSocket?: (new (url: string) => WebSocket) | undefined;
    clock?: Clock | undefined;
    random?: (() => number) | undefined;
    /**
     * Whose `online`, `pageshow` and `visibilitychange` say that the page is back; left out:
     * the window.
     */
    page?: EventTarget | undefined;
};
export type Call = {
    /**
     * Ends the call; the promise is rejected with the signal's reason.
     */
    signal?: AbortSignal | undefined;
};
/**
 * `key`: an Idempotency-Key of your own; left out: one is made, and kept until the outcome is known.
 */
export type KeyedCall = Call & {
    key?: string;
};
/**
 * `ifMatch`: the version that the request is meant for, or an `ETag`.
 */
export type MatchedCall = KeyedCall & {
    ifMatch?: number | string;
};
/**
 * What a request is made of beside its operation. `path`: the values of the names in braces. `body`: sent as JSON, a
 * Blob as it is. `blob`: the answer is a Blob. `token`: sent in place of the client's own; null: none is sent.
 */
export type Sent = MatchedCall & {
    path?: Record<string, string>;
    query?: object;
    body?: object;
    wait?: number;
    blob?: boolean;
    token?: string | null;
};
/**
 * The token in use.
 */
export type Held = {
    token: string;
    subject?: string;
    expires_at?: string;
    received_at: number;
};
/**
 * What can be watched, by the member of messages that has it.
 */
export type Kind = "booking" | "event" | "waiting_entry";
/**
 * Whether live changes come now; where they do not: the close code, and the milliseconds until the next try.
 */
export type ConnectionState = {
    open: true;
} | {
    open: false;
    code: number;
    retryInMs: number;
};
import type * as Types from "./types.js";
/** What operators do: the token needs the scope that the OpenAPI document names. */
declare class Admin {
    /** @param {Holdfast} holdfast */
    constructor(holdfast: Holdfast);
    /** What needs a person now, by its kind. @param {Call} [call] */
    attention(call?: Call): Promise<Types.Attention>;
    /** @param {Types.AdminListEventsQuery} [query] @param {Call} [call] */
    events(query?: Types.AdminListEventsQuery, call?: Call): Listing<Types.OperatorsEvent>;
    /** @param {string} id @param {Call} [call] */
    event(id: string, call?: Call): Promise<Types.OperatorsEventDetails>;
    /** @param {string} id @param {Types.PageQuery} [query] @param {Call} [call] */
    eventHistory(id: string, query?: Types.PageQuery, call?: Call): Listing<Types.EventChange>;
    /** Who waits, in the order of the line. @param {string} id @param {Types.PageQuery} [query] @param {Call} [call] */
    waitingList(id: string, query?: Types.PageQuery, call?: Call): Listing<Types.OperatorsWaitingEntry>;
    /** @param {Types.NewEvent} event @param {KeyedCall} [call] */
    createEvent(event: Types.NewEvent, call?: KeyedCall): Promise<Types.Event>;
    /**
     * A description as customers will see it; nothing changes.
     * @param {string} description Markdown
     * @param {Call} [call]
     */
    previewDescription(description: string, call?: Call): Promise<Types.DescriptionPreview>;
    /** @param {string} id @param {Types.EventPatch} changes @param {MatchedCall} [call] */
    updateEvent(id: string, changes: Types.EventPatch, call?: MatchedCall): Promise<Types.Event>;
    /** The image of an event, also of a draft, a WebP. @param {string} id @param {Call} [call] */
    eventImage(id: string, call?: Call): Promise<Blob>;
    /**
     * Gives an event an image, in place of the one that it has.
     * @param {string} id
     * @param {Blob} image A PNG, JPEG or WebP
     * @param {MatchedCall} [call]
     */
    setEventImage(id: string, image: Blob, call?: MatchedCall): Promise<Types.Event>;
    /** @param {string} id @param {MatchedCall} [call] */
    deleteEventImage(id: string, call?: MatchedCall): Promise<Types.Event>;
    /** @param {string} eventId @param {Types.ListPromoCodesQuery} [query] @param {Call} [call] */
    promoCodes(eventId: string, query?: Types.ListPromoCodesQuery, call?: Call): Listing<Types.PromoCode>;
    /**
     * Makes a promo code for an event, or many with the same terms.
     * @param {string} eventId
     * @param {Types.NewPromoCodes} codes
     * @param {KeyedCall} [call]
     */
    createPromoCodes(eventId: string, codes: Types.NewPromoCodes, call?: KeyedCall): Promise<Types.PromoCodes>;
    /** @param {string} eventId @param {string} codeId @param {Types.PromoCodePatch} changes @param {KeyedCall} [call] */
    updatePromoCode(eventId: string, codeId: string, changes: Types.PromoCodePatch, call?: KeyedCall): Promise<Types.PromoCode>;
    /** @param {string} id @param {MatchedCall} [call] */
    cancelEvent(id: string, call?: MatchedCall): Promise<Types.Event>;
    /** Tries all failed refunds of an event again. @param {string} id @param {MatchedCall} [call] */
    retryRefunds(id: string, call?: MatchedCall): Promise<Types.RefundRetry>;
    /** The bookings of all owners. @param {Types.AdminListBookingsQuery} [query] @param {Call} [call] */
    bookings(query?: Types.AdminListBookingsQuery, call?: Call): Listing<Types.Booking>;
    /** Sells seats at the box office, or gives them away. @param {Types.NewSale} sale @param {KeyedCall} [call] */
    sell(sale: Types.NewSale, call?: KeyedCall): Promise<Types.Booking>;
    /**
     * Gives back an amount, or all that is left.
     * @param {string} id
     * @param {Types.NewRefund} [refund]
     * @param {MatchedCall} [call]
     */
    refund(id: string, refund?: Types.NewRefund, call?: MatchedCall): Promise<Types.Booking>;
    /**
     * Lets somebody in by a ticket; every error lets nobody in.
     * @param {Types.NewCheckIn} shown
     * @param {Call} [call]
     */
    checkIn(shown: Types.NewCheckIn, call?: Call): Promise<Types.CheckIn>;
    /** Sends what was checked offline. @param {Types.NewCheckIns} shown @param {Call} [call] */
    checkIns(shown: Types.NewCheckIns, call?: Call): Promise<Types.CheckInResults>;
    /** The ticket lets somebody in again. @param {string} checkInId @param {Call} [call] */
    undoCheckIn(checkInId: string, call?: Call): Promise<Types.CheckIn>;
    /**
     * What a scanner needs without a network, and what has changed since its mark.
     * @param {string} eventId
     * @param {Types.GetDoorQuery} [query]
     * @param {Call} [call]
     */
    door(eventId: string, query?: Types.GetDoorQuery, call?: Call): Promise<Types.Door>;
    /** The mails about a booking, oldest first. @param {string} id @param {Call} [call] */
    mails(id: string, call?: Call): Listing<Types.Mail>;
    /** Sends a mail about a booking again. @param {string} id @param {Types.NewMail} mail @param {KeyedCall} [call] */
    resendMail(id: string, mail: Types.NewMail, call?: KeyedCall): Promise<Types.Mail>;
    /** Bookings as a CSV file. @param {Types.ExportBookingsQuery} [query] @param {Call} [call] */
    exportBookings(query?: Types.ExportBookingsQuery, call?: Call): Promise<Blob>;
    /** Seats as a CSV file. @param {Types.ExportSeatsQuery} [query] @param {Call} [call] */
    exportSeats(query?: Types.ExportSeatsQuery, call?: Call): Promise<Blob>;
    /** Money as a CSV file. @param {Types.ExportMoneyQuery} [query] @param {Call} [call] */
    exportMoney(query?: Types.ExportMoneyQuery, call?: Call): Promise<Blob>;
    /**
     * Erases a customer's name, addresses and telephone number in all bookings.
     * @param {Types.NewErasure} customers
     * @param {KeyedCall} [call]
     */
    eraseCustomers(customers: Types.NewErasure, call?: KeyedCall): Promise<Types.Erasure>;
    /** @param {Types.NewRevocation} tokens @param {KeyedCall} [call] */
    revokeTokens(tokens: Types.NewRevocation, call?: KeyedCall): Promise<Types.Revocation>;
    /** @param {Types.PageQuery} [query] @param {Call} [call] */
    revokedTokens(query?: Types.PageQuery, call?: Call): Listing<Types.Revocation>;
    /** @param {Call} [call] */
    webhookEndpoints(call?: Call): Listing<Types.WebhookEndpoint>;
    /** @param {string} id @param {Call} [call] */
    webhookEndpoint(id: string, call?: Call): Promise<Types.WebhookEndpoint>;
    /** The answer alone has its secret. @param {Types.NewWebhookEndpoint} endpoint @param {KeyedCall} [call] */
    createWebhookEndpoint(endpoint: Types.NewWebhookEndpoint, call?: KeyedCall): Promise<Types.SecretWebhookEndpoint>;
    /** @param {string} id @param {Types.WebhookEndpointPatch} changes @param {MatchedCall} [call] */
    updateWebhookEndpoint(id: string, changes: Types.WebhookEndpointPatch, call?: MatchedCall): Promise<Types.WebhookEndpoint>;
    /** Deletes an endpoint, and what it is still to be sent. @param {string} id @param {MatchedCall} [call] */
    deleteWebhookEndpoint(id: string, call?: MatchedCall): Promise<Types.WebhookEndpoint>;
    /**
     * Gives an endpoint another secret, which the answer alone has. Those before end after an overlap.
     * @param {string} id
     * @param {Types.NewWebhookSecret} [secret]
     * @param {MatchedCall} [call]
     */
    rotateWebhookSecret(id: string, secret?: Types.NewWebhookSecret, call?: MatchedCall): Promise<Types.SecretWebhookEndpoint>;
    /** Newest first. @param {string} id @param {Types.ListWebhookDeliveriesQuery} [query] @param {Call} [call] */
    webhookDeliveries(id: string, query?: Types.ListWebhookDeliveriesQuery, call?: Call): Listing<Types.WebhookDelivery>;
    /**
     * Sends an endpoint again what has failed since a time.
     * @param {string} id
     * @param {Types.NewRepetition} repetition
     * @param {KeyedCall} [call]
     */
    repeatWebhookDeliveries(id: string, repetition: Types.NewRepetition, call?: KeyedCall): Promise<Types.Repeated>;
    /** @param {string} id @param {Call} [call] */
    webhookDelivery(id: string, call?: Call): Promise<Types.WebhookDelivery>;
    /** Sends a delivery again. @param {string} id @param {KeyedCall} [call] */
    repeatWebhookDelivery(id: string, call?: KeyedCall): Promise<Types.WebhookDelivery>;
    #private;
}
export {};
