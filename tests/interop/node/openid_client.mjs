// openid-client against the server, with the signature of every ID token checked.
// The client comes as JSON in CLIENT; the last line is a JSON object of what was seen.
import { connect, privateKey, visit } from './person.mjs';
import * as openid from 'openid-client';

const told = JSON.parse(process.env.CLIENT);
const { flow, issuer, client_id, client_secret, method, redirect_uri, jwk, metadata } = told;
const authentication = await {
  client_secret_basic: () => openid.ClientSecretBasic(client_secret),
  client_secret_post: () => openid.ClientSecretPost(client_secret),
  private_key_jwt: async () => openid.PrivateKeyJwt({ key: await privateKey(jwk), kid: jwk.kid }),
  none: () => openid.None(),
}[method]();
const config = await openid.discovery(new URL(issuer), client_id, metadata, authentication, {
  execute: [openid.allowInsecureRequests, openid.enableNonRepudiationChecks], // plain http, on loopback
});

async function signIn(more = {}) {
  const pkceCodeVerifier = openid.randomPKCECodeVerifier();
  const expectedState = openid.randomState();
  const expectedNonce = openid.randomNonce();
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri,
    scope: 'openid profile email offline_access',
    state: expectedState,
    nonce: expectedNonce,
    max_age: '3600',
    code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    ...more,
  });
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true, maxAge: 3600 };
  return openid.authorizationCodeGrant(config, await visit(url), checks);
}

const refusal = (request) =>
  request.then(
    () => 'accepted',
    (error) => error.error ?? String(error),
  );

const flows = {
  async signIn() {
    const first = await signIn(told.parameters);
    const claims = first.claims();
    const userinfo = await openid.fetchUserInfo(config, first.access_token, claims.sub);
    const second = await openid.refreshTokenGrant(config, first.refresh_token);
    await openid.tokenRevocation(config, second.refresh_token);
    return {
      claims,
      userinfo,
      scope: first.scope,
      refreshed: second.claims() ?? null,
      refused: await refusal(openid.refreshTokenGrant(config, second.refresh_token)),
    };
  },
  async device() {
    const device = await openid.initiateDeviceAuthorization(config, { scope: 'openid profile offline_access' });
    await connect(device.verification_uri_complete);
    const tokens = await openid.pollDeviceAuthorizationGrant(config, device);
    const { sub } = tokens.claims();
    return { userinfo: await openid.fetchUserInfo(config, tokens.access_token, sub), refresh: tokens.refresh_token };
  },
  async logout() {
    const { id_token } = await signIn();
    const leaving = { post_logout_redirect_uri: told.goodbye, id_token_hint: id_token, state: 'left' };
    const { url } = await visit(openid.buildEndSessionUrl(config, leaving));
    return { url, again: await refusal(signIn({ prompt: 'none' })) };
  },
  async silent() {
    const stranger = await refusal(signIn({ prompt: 'none' }));
    const { sub } = (await signIn()).claims();
    const again = (await signIn({ prompt: 'none' })).claims();
    return { stranger, same: again.sub === sub };
  },
};

console.log(JSON.stringify(await flows[flow]()));
