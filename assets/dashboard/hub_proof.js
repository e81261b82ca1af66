// The hub proves itself before the page sends its key. After the hub has ended, any program may listen
// at its port, and the page reconnects to it.
//   1. The page sends a nonce and the id of its session, which is not secret.
//   2. The hub answers with an HMAC over the nonce, the page's address and the id of the hub's run. The
//      HMAC's key is the SHA-256 of the page's key, which the hub stores. (`Secret::mac`, `hub_proof`)
//   3. The address binds the proof to this port: a program on another port cannot pass it on.
// The proof is valid while the WebSocket that was opened after it is open. The system closes that
// connection when the hub's process ends. Without an open WebSocket, each request needs a proof of its own.
//
// What remains: a program that takes the port between the proof and the request after it, or before the
// page is notified of the closed connection (milliseconds), receives the key. A browser does not tell a
// page which connection it uses for a request.

/** @import { Session } from './types.d.ts' */

const PURPOSE = 'agenthub hub 1';
const NONCE_BYTES = 16;
const TIMEOUT_MS = 15000;

/** The reasons for which a key is not sent: property `reason` of the error. */
export const OTHER_PROGRAM = 'other program';
export const UNKNOWN_SESSION = 'unknown session';

/**
 * @param {string} reason
 * @param {string} message
 */
const refuse = (reason, message) => Object.assign(new Error(message), { status: 0, reason });

/** The id of the session for which the hub has proved itself, as long as the WebSocket is open. */
let provenFor = '';
/** @type {Map<string, Promise<void>>} Session id → proof under way. */
const underWay = new Map();

/**
 * Called when the WebSocket that was opened after the proof for this session is connected.
 * @param {Session | null} session
 */
export function keepProof(session) {
  provenFor = session?.id || '';
}

/** Called when the connection has ended: the next program that answers must prove itself. */
export function dropProof() {
  provenFor = '';
}

/**
 * Resolves when the hub has proved that it has this session's key; requests at the same time share one proof.
 * @param {Session} session
 * @returns {Promise<void>}
 */
export function requireProof(session) {
  if (provenFor === session.id) return Promise.resolve();
  const known = underWay.get(session.id);
  if (known) return known;
  const proof = prove(session).finally(() => underWay.delete(session.id));
  underWay.set(session.id, proof);
  return proof;
}

/** @param {Session} session */
async function prove({ id, key }) {
  // Browsers have no crypto.subtle on pages that came over plain HTTP from another machine. There the check
  // is impossible, and without TLS it would not stop a program that can redirect the connection.
  if (!crypto.subtle) return;
  const nonce = toHex(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  let response;
  let body;
  try {
    response = await fetch('/api/proof?' + new URLSearchParams({ nonce, session: id }), {
      cache: 'no-store',
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS)
    });
    body = await response.text();
  } catch {
    throw refuse('', 'the hub isn’t responding.');
  }
  const answer = parseObject(body);
  if (response.status === 404 && answer.error?.code === 'NOT_FOUND') {
    throw refuse(UNKNOWN_SESSION, 'this browser’s key was revoked or has expired.');
  }
  // The hub is overloaded or shuts down. Nothing is sent; the next attempt may succeed.
  if (response.status >= 500) throw refuse('', `the hub returned HTTP status ${response.status}.`);
  const expected = await hmac(await sha256Hex(key), [PURPOSE, nonce, location.host, String(answer.run)]);
  if (response.status !== 200 || answer.proof !== expected) {
    throw refuse(OTHER_PROGRAM, `another program answers at ${location.host}.`);
  }
}

/** @param {string} text */
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === 'object' ? value : {};
  } catch {
    return {};
  }
}

/** @param {string} text */
const encode = text => new TextEncoder().encode(text);
/** @param {ArrayBuffer | Uint8Array<ArrayBuffer>} bytes */
const toHex = bytes => Array.from(new Uint8Array(bytes), byte => byte.toString(16).padStart(2, '0')).join('');
/** @param {string} text */
const sha256Hex = async text => toHex(await crypto.subtle.digest('SHA-256', encode(text)));

/**
 * Returns the HMAC-SHA-256 of the fields, each after its length in 8 bytes, in hex digits.
 * @param {string} keyText
 * @param {string[]} fields
 */
async function hmac(keyText, fields) {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encode(keyText), algorithm, false, ['sign']);
  const parts = fields.map(encode).flatMap(bytes => {
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(bytes.length));
    return [...length, ...bytes];
  });
  return toHex(await crypto.subtle.sign(algorithm, key, new Uint8Array(parts)));
}
