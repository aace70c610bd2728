// An OpenID Provider on loopback with one client; anybody may sign in under any name.
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const { port, client_id, client_secret, redirect_uris, backchannel_logout_uri } = JSON.parse(process.env.CONFIGURATION);
const signingKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id,
      client_secret,
      redirect_uris,
      ...(backchannel_logout_uri && { backchannel_logout_uri, backchannel_logout_session_required: true }),
    },
  ],
  features: { backchannelLogout: { enabled: true } },
  jwks: { keys: [{ ...signingKey, alg: 'RS256', use: 'sig' }] },
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => false }, // as the well-known providers do
  conformIdTokenClaims: false, // profile and email in the ID token, as the well-known providers do
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'picture'] },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({
      sub,
      name: sub,
      email: `${sub}@example.com`,
      email_verified: true,
      picture: `https://pictures.example/${sub}.png`,
    }),
  }),
});
provider.listen(port, '127.0.0.1');
