// Authorization server with node-oidc-provider, in memory, with the configured clients and format of access tokens.
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const { port, clients, format } = JSON.parse(process.env.CONFIGURATION);
const MAX_ENTRIES = 20_000; // of each model: more than the measured requests need

// The package's own adapter iterates over all tokens of a grant for each new one, so it gets slower the longer a
// session lasts. This one does one Map operation for each call.
class Memory {
  entries = new Map();

  upsert(id, payload) {
    this.entries.delete(id);
    this.entries.set(id, payload);
    if (this.entries.size > MAX_ENTRIES) this.entries.delete(this.entries.keys().next().value);
  }

  find(id) { return this.entries.get(id); }

  findByUid(uid) { return this.#all().find((payload) => payload.uid === uid); }

  findByUserCode(userCode) { return this.#all().find((payload) => payload.userCode === userCode); }

  consume(id) { this.entries.get(id).consumed = Math.floor(Date.now() / 1000); }

  destroy(id) { this.entries.delete(id); }

  revokeByGrantId(grantId) {
    for (const [id, payload] of this.entries) if (payload.grantId === grantId) this.entries.delete(id);
  }

  #all() { return [...this.entries.values()]; }
}

const signingKey = (type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig',
});

const jwtResource = {
  scope: 'profile',
  audience: 'https://api.example',
  accessTokenFormat: 'jwt',
  accessTokenTTL: 900,
  jwt: { sign: { alg: 'ES256' } },
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: Memory,
  clients: clients.map(({ client_id, client_secret, redirect_uri }) => ({
    client_id,
    client_secret,
    redirect_uris: [redirect_uri],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
  })),
  scopes: ['openid', 'profile'],
  jwks: {
    keys: [
      signingKey('ec', { namedCurve: 'P-256' }, 'ES256'),
      signingKey('rsa', { modulusLength: 2048 }, 'RS256'), // for ID tokens, which no benchmark requests
    ],
  },
  cookies: { keys: ['only for the benchmark'] },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: format === 'jwt',
      defaultResource: () => 'https://api.example',
      useGrantedResource: () => true,
      getResourceServerInfo: () => jwtResource,
    },
  },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
});
provider.listen(port, '127.0.0.1');
