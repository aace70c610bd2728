// The client of @modelcontextprotocol/sdk: reads notes, adds one, comes with a token that is out of date, reads again.
import { visit } from './person.mjs';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const { url, about, document } = JSON.parse(process.env.CLIENT);
const saved = { tokens: [] };
const provider = {
  clientMetadata: about,
  redirectUrl: about.redirect_uris[0],
  ...(document && { clientMetadataUrl: document }),
  clientInformation: () => saved.client,
  saveClientInformation: (client) => (saved.client = client),
  tokens: () => saved.tokens.at(-1),
  saveTokens: (tokens) => saved.tokens.push(tokens),
  codeVerifier: () => saved.verifier,
  saveCodeVerifier: (verifier) => (saved.verifier = verifier),
  async redirectToAuthorization(where) {
    saved.answer = new URL((await visit(where)).url).searchParams;
  },
};

// Where the SDK has sent its person away it gives up; the app finishes the sign-in and begins again.
async function call(name, args = {}) {
  for (let attempt = 0; attempt < 4; attempt++) {
    const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
    const client = new Client({ name: 'Assistant', version: '1' });
    try {
      await client.connect(transport);
      const { content } = await client.callTool({ name, arguments: args });
      return content.map((one) => one.text).join('\n');
    } catch (error) {
      if (error instanceof UnauthorizedError) {
        await transport.finishAuth(saved.answer.get('code'));
      } else if (error.code === 403 && saved.tokens.at(-1).refresh_token) {
        // asked for more scope this SDK refreshes, which brings no more; without the token it asks the person
        saved.tokens.at(-1).refresh_token = undefined;
      } else throw error;
    } finally {
      await client.close();
    }
  }
  throw new Error('signed in, and still not let in');
}

await call('read_notes');
await call('add_note', { text: 'Buy stamps' });
saved.tokens.push({ ...saved.tokens.pop(), access_token: 'out of date' });
const read = await call('read_notes');
console.log(
  JSON.stringify({
    read,
    client_id: saved.client.client_id,
    scopes: saved.tokens.map((token) => token.scope),
    tokens: saved.tokens.map((token) => token.access_token),
  }),
);
