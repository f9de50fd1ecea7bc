// An OpenID provider whose people log in without a form: the test's browser says who it is in a header.
// Usage: node provider.mjs PORT PEOPLE.json   (people: account id -> further claims of the ID token)
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, file] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const people = () => JSON.parse(readFileSync(file, 'utf8'));
const said = ['preferred_username', 'roles', 'groups', 'tid', 'oid', '_claim_names'];

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'casemate',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      token_endpoint_auth_method: 'none',
    },
    {
      client_id: 'confidential',
      client_secret: 'a secret with : and %',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
    },
  ],
  claims: { openid: ['sub', 'amr', ...said], amr: null, auth_time: null },
  conformIdTokenClaims: false,
  features: {
    devInteractions: { enabled: false },
    deviceFlow: {
      enabled: true,
      userCodeInputSource: (ctx, form) => { ctx.body = form; },
      userCodeConfirmSource: (ctx, form) => { ctx.body = form; },
      successSource: (ctx) => { ctx.body = 'done'; },
    },
  },
  findAccount: (_, id) => (people()[id] ? { accountId: id, claims: () => ({ sub: id, ...people()[id] }) } : undefined),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email');
    await grant.save();
    return grant;
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => true },
});

const answer = provider.callback();
createServer(async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  const account = request.headers['x-account'];
  const result = account
    ? { login: { accountId: account, amr: request.headers['x-amr']?.split(' '), remember: false }, consent: {} }
    : { error: 'access_denied' };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
