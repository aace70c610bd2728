// An authorization server on loopback whose access tokens are for one API: JWTs for some clients, opaque for others.
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const { port, resource, clients } = JSON.parse(process.env.CONFIGURATION);
const signingKey = (alg, kid, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, kid, use: 'sig',
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: clients.map(({ format, ...client }) => ({
    redirect_uris: ['https://app.example/callback'],
    grant_types: ['authorization_code', 'client_credentials', 'refresh_token'],
    ...client,
  })),
  jwks: {
    keys: [
      signingKey('ES256', 'of access tokens', 'ec', { namedCurve: 'P-256' }),
      signingKey('RS256', 'of ID tokens', 'rsa', { modulusLength: 2048 }),
    ],
  },
  scopes: ['openid', 'offline_access', 'notes:read', 'notes:write'],
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => false },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, indicator, client) => ({
        scope: 'notes:read notes:write',
        audience: indicator,
        accessTokenTTL: 300,
        accessTokenFormat: clients.find((one) => one.client_id === client.clientId).format,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
});
provider.listen(port, '127.0.0.1');
