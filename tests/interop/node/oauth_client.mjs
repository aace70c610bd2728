// oauth4webapi against the server: each answer goes through its judgement before it is used.
// The client comes as JSON in CLIENT; the last line is a JSON object of what was seen.
import { connect, privateKey, visit } from './person.mjs';
import * as oauth from 'oauth4webapi';

const told = JSON.parse(process.env.CLIENT);
const { flow, issuer, client_id, client_secret, method, redirect_uri, jwk } = told;
const insecure = { [oauth.allowInsecureRequests]: true }; // plain http, on loopback
const client = { client_id };
const authentication = await {
  client_secret_basic: () => oauth.ClientSecretBasic(client_secret),
  client_secret_post: () => oauth.ClientSecretPost(client_secret),
  private_key_jwt: async () => oauth.PrivateKeyJwt({ key: await privateKey(jwk), kid: jwk.kid }),
  none: () => oauth.None(),
}[method]();

const as = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure }),
);

async function signIn() {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id,
    redirect_uri,
    scope: 'profile email',
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(told.response_mode && { response_mode: told.response_mode }),
  });
  const reached = await visit(url);
  const sent = reached.method === 'POST' ? new URLSearchParams(await reached.text()) : new URL(reached.url);
  const answer = oauth.validateAuthResponse(as, client, sent, state);
  return oauth.processAuthorizationCodeResponse(
    as,
    client,
    await oauth.authorizationCodeGrantRequest(as, client, authentication, answer, redirect_uri, verifier, insecure),
  );
}

const refresh = async (token) =>
  oauth.processRefreshTokenResponse(
    as,
    client,
    await oauth.refreshTokenGrantRequest(as, client, authentication, token, insecure),
  );

const introspect = async (token) =>
  oauth.processIntrospectionResponse(
    as,
    client,
    await oauth.introspectionRequest(as, client, authentication, token, insecure),
  );

const revoke = async (token) =>
  oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, token, insecure));

// RFC 9068 §4, as a resource server that trusts this issuer reads the token
const readAccessToken = ({ access_token }) =>
  oauth.validateJwtAccessToken(
    as,
    new Request(`${issuer}/api`, { headers: { authorization: `Bearer ${access_token}` } }),
    issuer,
    insecure,
  );

const refusal = (request) =>
  request.then(
    () => 'accepted',
    (error) => error.error ?? String(error),
  );

const flows = {
  async web() {
    const first = await signIn();
    const second = await refresh(first.refresh_token);
    const before = await introspect(second.access_token);
    await revoke(second.refresh_token);
    const after = await introspect(second.access_token);
    return {
      scope: first.scope,
      rotated: first.refresh_token !== second.refresh_token,
      claims: await readAccessToken(second),
      active: [before.active, after.active],
      refused: await refusal(refresh(second.refresh_token)),
    };
  },
  async native() {
    const first = await signIn();
    const second = await refresh(first.refresh_token);
    await revoke(second.refresh_token);
    return {
      scope: first.scope,
      rotated: first.refresh_token !== second.refresh_token,
      claims: await readAccessToken(second),
      refused: await refusal(refresh(second.refresh_token)),
    };
  },
  async device() {
    const asked = await oauth.processDeviceAuthorizationResponse(
      as,
      client,
      await oauth.deviceAuthorizationRequest(as, client, authentication, { scope: 'profile' }, insecure),
    );
    await connect(asked.verification_uri_complete);
    const poll = () => oauth.deviceCodeGrantRequest(as, client, authentication, asked.device_code, insecure);
    const token = await oauth.processDeviceCodeResponse(as, client, await poll());
    const second = await refresh(token.refresh_token);
    return { scope: token.scope, claims: await readAccessToken(second) };
  },
  async machine() {
    const request = await oauth.clientCredentialsGrantRequest(
      as,
      client,
      authentication,
      new URLSearchParams({ scope: 'profile' }),
      insecure,
    );
    const token = await oauth.processClientCredentialsResponse(as, client, request);
    return {
      scope: token.scope,
      refreshable: 'refresh_token' in token,
      claims: await readAccessToken(token),
      introspected: await introspect(token.access_token),
    };
  },
};

console.log(JSON.stringify(await flows[flow]()));
