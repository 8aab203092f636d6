// A ticket's code: what it says, and whether it is genuine. docs/tickets.md has it byte by byte.

/** @import * as Types from "../../clients/js/types.js" */

/**
 * @typedef {object} Code
 * @property {string} text As scanners send it
 * @property {string} eventId
 * @property {string} bookingId
 * @property {string} ticketTypeId
 * @property {number} number
 * @property {string} ticketId
 * @property {string} kid
 * @property {Uint8Array<ArrayBuffer>} bytes
 */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const CHARACTERS = 216;
const VERSION = 1;
/** How many of the bytes are signed; the signature follows. */
const SIGNED = 71;

/** What a code says; null for what is no code. @param {string} shown @returns {Code | null} */
export function read(shown) {
  const text = shown.trim().toUpperCase();
  if (text.length !== CHARACTERS) return null;
  const bytes = new Uint8Array((CHARACTERS * 5) / 8);
  let bits = 0;
  let count = 0;
  let place = 0;
  for (const character of text) {
    const value = ALPHABET.indexOf(character);
    if (value < 0) return null;
    bits = ((bits & 0xff) << 5) | value;
    count += 5;
    if (count < 8) continue;
    count -= 8;
    bytes[place++] = (bits >> count) & 0xff;
  }
  if (bytes[0] !== VERSION) return null;
  return {
    text,
    kid: hexadecimal(bytes.subarray(1, 5)),
    eventId: uuid(bytes, 5),
    bookingId: uuid(bytes, 21),
    ticketTypeId: uuid(bytes, 37),
    number: (bytes[53] << 8) | bytes[54],
    ticketId: uuid(bytes, 55),
    bytes,
  };
}

/** @param {Uint8Array} bytes */
const hexadecimal = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {Uint8Array} bytes @param {number} at */
const uuid = (bytes, at) =>
  hexadecimal(bytes.subarray(at, at + 16)).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** @param {Types.SigningKey} key */
const imported = ({ kty, crv, x }) => crypto.subtle.importKey("jwk", { kty, crv, x }, { name: "Ed25519" }, false, ["verify"]);

/** Whether this browser can check codes by itself: WebCrypto has Ed25519 since 2023 to 2025. @param {Types.SigningKey} key */
export async function canVerify(key) {
  try {
    await imported(key);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether one of these keys has signed it. Rejected where this browser cannot say.
 * @param {Code} code
 * @param {readonly Types.SigningKey[]} keys
 */
export async function genuine({ kid, bytes }, keys) {
  const key = keys.find((each) => each.kid === kid);
  if (!key) return false;
  return crypto.subtle.verify({ name: "Ed25519" }, await imported(key), bytes.subarray(SIGNED), bytes.subarray(0, SIGNED));
}
