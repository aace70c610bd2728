// What the programs of this folder share: the person who visits, and Web Crypto under its usual name.
import { webcrypto } from 'node:crypto';
import { createInterface } from 'node:readline/promises';

globalThis.crypto ??= webcrypto; // Node 18 has it, but not under this name
globalThis.CryptoKey ??= webcrypto.CryptoKey;

// Asks for a person: "visit URL" on standard output. The request that reaches the client in the end comes back as one
// line of JSON on standard input: a redirect has a url, an answer by form_post a body too.
export async function visit(url) {
  const input = createInterface({ input: process.stdin });
  try {
    console.log(`visit ${url}`);
    const { url: target, body } = JSON.parse(await input.question(''));
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return new Request(target, body === null ? {} : { method: 'POST', body, headers });
  } finally {
    input.close();
  }
}

const PARAMETERS = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  Ed25519: { name: 'Ed25519' },
  EdDSA: { name: 'Ed25519' },
};

export const privateKey = (jwk) => crypto.subtle.importKey('jwk', jwk, PARAMETERS[jwk.alg], false, ['sign']);
