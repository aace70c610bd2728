// What the programs of this folder share: the person who visits, and Web Crypto under its usual name.
import { webcrypto } from 'node:crypto';
import { createInterface } from 'node:readline/promises';

globalThis.crypto ??= webcrypto; // Node 18 has it, but not under this name
globalThis.CryptoKey ??= webcrypto.CryptoKey;

// Asks for a person on standard output, and answers the line of JSON that comes back on standard input.
async function ask(what) {
  const input = createInterface({ input: process.stdin });
  try {
    console.log(what);
    return JSON.parse(await input.question(''));
  } finally {
    input.close();
  }
}

// Answers the request that reaches the client in the end: a redirect, or with a body, an answer by form_post.
export async function visit(url) {
  const { url: target, body } = await ask(`visit ${url}`);
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return new Request(target, body === null ? {} : { method: 'POST', body, headers });
}

// Has somebody confirm the code that a device shows.
export const connect = (url) => ask(`connect ${url}`);

const PARAMETERS = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  Ed25519: { name: 'Ed25519' },
  EdDSA: { name: 'Ed25519' },
};

// Without its alg: Node 18 knows Ed25519 by the older name only.
export const privateKey = ({ alg, ...jwk }) => crypto.subtle.importKey('jwk', jwk, PARAMETERS[alg], false, ['sign']);
