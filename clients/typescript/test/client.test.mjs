// The client against a broker that misbehaves.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { answer, Broker, granted, KEY, library, LINK, TOKEN, unconnected, withBroker } from './broker.mjs';

const { AuthClient } = library;

/** Two clocks that a test moves, in seconds. */
function time() {
  const now = { steady: 1000, wall: Date.now() / 1000 };
  const move = (seconds) => ((now.steady += seconds), (now.wall += seconds));
  return { now, move, clocks: { steady: () => 1000 * now.steady, wall: () => 1000 * now.wall } };
}

test('a token is asked for as the interface says', async () => {
  const asked = await withBroker([granted(3600, { scope: 'a b' })], async (broker) => {
    const token = await broker.client().token('google', 'alice', { scope: ['b', 'a'] });
    assert.deepEqual([token.accessToken, token.scope, token.source], [TOKEN, 'a b', 'oauth']);
    assert.deepEqual(token.headers, { Authorization: `Bearer ${TOKEN}` });
  });
  assert.deepEqual([asked[0].method, asked[0].path], ['POST', '/auth/token']);
  assert.deepEqual(asked[0].body, { service: 'google', user_id: 'alice', scope: 'a b' });
  assert.equal(asked[0].headers.authorization, `Bearer ${KEY}`);
});

test('a person may be named by address', async () => {
  const asked = await withBroker([granted()], async (broker) => {
    const client = broker.client();
    for (const person of [{ email: 'alice@corp.com' }, 'alice@corp.com']) await client.token('google', person);
  });
  const bodies = asked.map(({ body }) => body);
  assert.deepEqual(bodies[0], { service: 'google', user_email: 'alice@corp.com' });
  assert.deepEqual(bodies[1], { service: 'google', user_id: 'alice@corp.com' });
});

test('a link and the end of a connection', async () => {
  const link = answer(200, { auth_url: LINK, expires_in: 600 });
  const asked = await withBroker([link, { status: 204, raw: '' }], async (broker) => {
    assert.deepEqual(await broker.client().authUrl('google', 'alice', { scope: 'a' }), { url: LINK, expiresIn: 600 });
    await broker.client().disconnect('google', 'alice');
  });
  assert.deepEqual([asked[0].path, asked[0].body.scope], ['/auth/init', 'a']);
  assert.deepEqual([asked[1].method, asked[1].path], ['DELETE', '/auth/revoke']);
  assert.deepEqual(asked[1].body, { service: 'google', user_id: 'alice' });
});

test('a link to the account page does not end', async () => {
  await withBroker([answer(200, { auth_url: 'https://gw.example/account' })], async (broker) => {
    assert.deepEqual(await broker.client().authUrl('notes', 'alice'), { url: 'https://gw.example/account', expiresIn: undefined });
  });
});

test('every refusal has its error and says the fix', async () => {
  const later = new Date(Date.now() + 3_600_000).toUTCString();
  const cases = [
    [unconnected(), 'AuthorizationRequired', LINK],
    [answer(401, { error: 'invalid_client' }), 'KeyRefused', 'portcullis apikey create'],
    [{ status: 401, raw: '<html>' }, 'KeyRefused', 'PORTCULLIS_API_KEY'],
    [answer(403, { error: 'access_denied', error_description: 'why' }), 'NotAllowed', '(why)'],
    [answer(403, {}), 'NotAllowed', '--service google --user alice'],
    [answer(404, { error: 'unknown_service' }), 'ServiceUnknown', '[[service]]'],
    [answer(400, { error_description: 'no scope' }), 'RequestRefused', 'no scope'],
    [answer(429, {}, { 'retry-after': '7' }), 'RateLimited', '7 seconds'],
    [answer(502, {}, { 'retry-after': '30' }), 'ProviderTrouble', '30 seconds'],
    [answer(504, {}, { 'retry-after': later }), 'ProviderTrouble', 'seconds'],
    [answer(301, {}, { location: 'https://elsewhere.example/' }), 'UnexpectedAnswer', 'PORTCULLIS_URL'],
    [answer(500, []), 'UnexpectedAnswer', '500'],
    [answer(500, { error: 'server_error' }), 'ProviderTrouble', 'a minute'],
    [{ status: 200, raw: '<html>hello</html>' }, 'UnexpectedAnswer', 'PORTCULLIS_URL'],
  ];
  for (const [given, kind, told] of cases) {
    const asked = await withBroker([given], async (broker) => {
      const error = await broker.client().token('google', 'alice').catch((reason) => reason);
      assert.equal(error.name, kind, String(error));
      assert.ok(error instanceof library[kind] && error instanceof library.PortcullisError && error.message.includes(told), String(error));
    });
    assert.equal(asked.length, 1, kind);
  }
});

test('nonsense is no token', async () => {
  for (const content of [
    [],
    null,
    { access_token: '' },
    { access_token: 5 },
    { access_token: 'two\r\nlines' },
    { access_token: TOKEN, expires_at: 'soon' },
    { access_token: TOKEN, expires_at: 1e300 },
    { access_token: TOKEN, expires_at: true },
    { access_token: TOKEN, token_type: 'Bearer\n' },
  ]) {
    await withBroker([answer(200, content)], async (broker) => {
      await assert.rejects(broker.client().token('google', 'alice'), (error) => {
        assert.equal(error.name, 'UnexpectedAnswer');
        return !error.message.includes(TOKEN);
      });
    });
  }
});

test('a link that is no web address is not shown', async () => {
  for (const link of ['javascript:alert(1)', 'file:///etc/passwd', 'https://', 'https://gw.example/\n', 'http://[::1']) {
    await withBroker([unconnected(link)], async (broker) => {
      await assert.rejects(broker.client().token('google', 'alice'), { name: 'KeyRefused' });
    });
  }
});

test('a body without end is not read to its end', async () => {
  const huge = { status: 200, raw: '['.repeat(1 << 20), headers: { 'content-length': String(2 ** 40) } };
  await withBroker([huge], async (broker) => {
    await assert.rejects(broker.client().token('google', 'alice'), { name: 'UnexpectedAnswer' });
  });
});

test('a redirect gets no key', async () => {
  const stolen = await withBroker([granted()], async (thief) => {
    await withBroker([answer(307, {}, { location: `${thief.url}/auth/token` })], async (broker) => {
      await assert.rejects(broker.client().token('google', 'alice'), { name: 'UnexpectedAnswer' });
    });
  });
  assert.deepEqual(stolen, []);
});

test('short trouble is waited out, trouble that stays ends', async () => {
  const trouble = answer(503, {}, { 'retry-after': '0' });
  const patient = await withBroker([trouble, undefined, granted()], async (broker) => {
    assert.equal((await broker.client().token('google', 'alice')).accessToken, TOKEN);
  });
  assert.equal(patient.length, 3);
  const given = await withBroker([trouble], async (broker) => {
    await assert.rejects(broker.client().token('google', 'alice'), { name: 'ProviderTrouble', retryAfter: 0 });
  });
  assert.equal(given.length, 3);
});

test('what may not be repeated is not', async () => {
  const [long, at_once] = [{ 'retry-after': '6' }, { 'retry-after': '0' }];
  for (const given of [answer(502, {}, long), answer(429, {}, at_once), answer(500, {}), unconnected()]) {
    const asked = await withBroker([given], async (broker) => {
      await assert.rejects(broker.client().token('google', 'alice'), library.PortcullisError);
    });
    assert.equal(asked.length, 1);
  }
});

test('nobody there, and nobody answering', async () => {
  const broker = await Broker.start(granted());
  await broker[Symbol.asyncDispose]();
  await assert.rejects(broker.client().token('google', 'alice'), (error) => {
    return error.name === 'BrokerUnreachable' && error.message.includes('ECONNREFUSED');
  });
  const asked = await withBroker([() => new Promise(() => {})], async (broker) => {
    await assert.rejects(broker.client({ timeout: 0.05 }).token('google', 'alice'), { name: 'BrokerUnreachable' });
  });
  assert.equal(asked.length, 1, 'a time-out is not repeated: the person waits');
});

test('kept until a minute before expiry by either clock', async () => {
  for (const which of ['both', 'steady', 'wall']) {
    const { now, move, clocks } = time();
    const asked = await withBroker([granted(600)], async (broker) => {
      const client = broker.client({ clocks });
      await client.token('google', 'alice');
      move(535);
      await client.token('google', 'alice');
      if (which !== 'wall') now.steady += 10;
      if (which !== 'steady') now.wall += 10;
      await client.token('google', 'alice');
    });
    assert.equal(asked.length, 2, which);
  }
});

test('our clock may be wrong', async () => {
  // The broker lives an hour ahead: what looks good for an hour and ten minutes is good for ten.
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  const content = { access_token: TOKEN, expires_at: Date.now() / 1000 + 4200 };
  for (const given of [answer(200, content, { date }), answer(200, { ...content, expires_in: 600 })]) {
    const { move, clocks } = time();
    const asked = await withBroker([given], async (broker) => {
      const client = broker.client({ clocks });
      await client.token('google', 'alice');
      move(545);
      await client.token('google', 'alice');
    });
    assert.equal(asked.length, 2);
  }
});

test('what is short or past is not kept, what has no expiry for five minutes', async () => {
  for (const lives of [50, -5]) {
    const asked = await withBroker([granted(lives)], async (broker) => {
      const client = broker.client();
      for (let i = 0; i < 2; i += 1) await client.token('google', 'alice');
    });
    assert.equal(asked.length, 2);
  }
  const { move, clocks } = time();
  const asked = await withBroker([granted(null, { source: 'pat' })], async (broker) => {
    const client = broker.client({ clocks });
    assert.equal((await client.token('google', 'alice')).source, 'pat');
    move(299);
    await client.token('google', 'alice');
    assert.equal(broker.asked.length, 1);
    move(2);
    await client.token('google', 'alice');
  });
  assert.equal(asked.length, 2);
});

test('kept by service, person and scope, no more than so many', async () => {
  const asked = await withBroker([granted()], async (broker) => {
    const client = broker.client();
    await client.token('google', 'alice', { scope: 'a b' });
    await client.token('google', 'alice', { scope: ['b', 'a', 'a'] });
    assert.equal(broker.asked.length, 1);
    await client.token('google', 'alice', { scope: 'a' });
    await client.token('google', 'bob', { scope: 'a b' });
    await client.token('github', 'alice', { scope: 'a b' });
  });
  assert.equal(asked.length, 4);
  const few = await withBroker([granted()], async (broker) => {
    const client = broker.client({ capacity: 2 });
    for (const user of ['a', 'b', 'a', 'c', 'a', 'b']) await client.token('google', user);
  });
  assert.deepEqual(few.map(({ body }) => body.user_id), ['a', 'b', 'c', 'b']);
});

test('a refused token is forgotten, and its successor is not', async () => {
  const asked = await withBroker([granted(), granted(3600, { access_token: 'second' })], async (broker) => {
    const client = broker.client();
    const first = await client.token('google', 'alice');
    client.invalidate(first);
    const second = await client.token('google', 'alice');
    client.invalidate(first);
    assert.equal(await client.token('google', 'alice'), second);
    assert.equal(second.accessToken, 'second');
  });
  assert.equal(asked.length, 2);
});

test('that there is none is not kept', async () => {
  await withBroker([unconnected(), granted()], async (broker) => {
    const client = broker.client();
    await assert.rejects(client.token('google', 'alice'), { name: 'AuthorizationRequired' });
    await client.token('google', 'alice');
  });
});

test('a disconnected token is forgotten even when it is on its way', async () => {
  const arrived = resolvers();
  const go = resolvers();
  const late = () => (arrived.resolve(), go.promise.then(() => granted()));
  const asked = await withBroker([late, { status: 204, raw: '' }, granted()], async (broker) => {
    const client = broker.client();
    const waiting = client.token('google', 'alice');
    await arrived.promise;
    await client.disconnect('google', 'alice');
    go.resolve();
    await waiting;
    await client.token('google', 'alice');
  });
  assert.deepEqual(asked.map(({ path }) => path), ['/auth/token', '/auth/revoke', '/auth/token']);
});

test('a hundred calls make one request, and share its failure', async () => {
  const asked = await withBroker([unconnected(), granted()], async (broker) => {
    const client = broker.client();
    const hundred = () => Promise.allSettled(Array.from({ length: 100 }, () => client.token('google', 'alice')));
    assert.ok((await hundred()).every(({ reason }) => reason?.name === 'AuthorizationRequired'));
    assert.equal(new Set((await hundred()).map(({ value }) => value)).size, 1);
  });
  assert.equal(asked.length, 2);
});

test('a personal token when there is no connection or no broker, not when it is forbidden', async () => {
  const warnings = [];
  await withBroker([unconnected(), granted()], async (broker) => {
    const client = broker.client({ pats: { google: 'own' }, warn: (text) => warnings.push(text) });
    const token = await client.token('google', 'alice');
    assert.deepEqual([token.accessToken, token.source], ['own', 'environment']);
    assert.equal((await client.token('google', 'alice')).source, 'oauth', 'a connection goes first');
  });
  assert.equal(warnings.length, 1);
  await withEnvironment({ PORTCULLIS_PAT_MY_GITHUB: 'own' }, async () => {
    const client = new AuthClient({ baseUrl: 'http://127.0.0.1:1', apiKey: KEY, warn: () => {} });
    assert.equal((await client.token('my-github', 'alice')).source, 'environment');
  });
  for (const status of [401, 403, 404, 429]) {
    await withBroker([answer(status, {})], async (broker) => {
      const client = broker.client({ pats: { google: 'own' } });
      await assert.rejects(client.token('google', 'alice'), library.PortcullisError);
    });
  }
  await withBroker([unconnected()], async (broker) => {
    await assert.rejects(broker.client({ pats: {} }).token('constructor', 'alice'), { name: 'AuthorizationRequired' });
  });
});

test('secrets show themselves nowhere', async () => {
  await withBroker([granted()], async (broker) => {
    const client = broker.client();
    const token = await client.token('google', 'alice');
    const deep = { depth: 10, showHidden: true };
    for (const place of [inspect(token, deep), JSON.stringify(token), String(token), inspect(client, deep), JSON.stringify(client)]) {
      assert.ok(!place.includes(TOKEN) && !place.includes(KEY), place);
    }
  });
});

test('from the environment and from a file', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'portcullis-client-'));
  try {
    await writeFile(join(directory, 'key'), `${KEY}\n`);
    for (const key of [{ PORTCULLIS_API_KEY: KEY }, { PORTCULLIS_API_KEY_FILE: join(directory, 'key') }]) {
      const asked = await withBroker([granted()], (broker) =>
        withEnvironment({ PORTCULLIS_URL: `${broker.url}/`, ...key }, () => new AuthClient().token('google', 'alice')),
      );
      assert.deepEqual([asked[0].path, asked[0].headers.authorization], ['/auth/token', `Bearer ${KEY}`]);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('what is wrong is said without the key', async () => {
  const [url, key] = [{ PORTCULLIS_URL: 'https://gw.example' }, { PORTCULLIS_API_KEY: KEY }];
  for (const [environment, told] of [
    [{}, 'PORTCULLIS_URL'],
    [url, 'PORTCULLIS_API_KEY'],
    [{ ...url, PORTCULLIS_API_KEY: 'sesame' }, 'id.secret'],
    [{ ...url, PORTCULLIS_API_KEY: 'se\nsa.me' }, 'id.secret'],
    [{ ...url, ...key, PORTCULLIS_API_KEY_FILE: '/etc/key' }, 'both'],
    [{ ...url, PORTCULLIS_API_KEY_FILE: '/nowhere/key' }, '/nowhere/key'],
    [{ ...key, PORTCULLIS_URL: 'gw.example' }, 'https://'],
    [{ ...key, PORTCULLIS_URL: 'https://me:pw@gw.example' }, 'https://'],
    [{ ...key, PORTCULLIS_URL: 'http://gw.example' }, 'allowHttp'],
  ]) {
    await withEnvironment(environment, async () => {
      const attempt = async () => new AuthClient().token('google', 'alice');
      await assert.rejects(attempt, (error) => {
        assert.ok(error instanceof library.ConfigurationError && error.message.includes(told), String(error));
        return !error.message.includes('sesame');
      });
    });
  }
  for (const baseUrl of ['http://localhost:8080', 'http://gw.localhost', 'http://127.0.0.1:1', 'http://[::1]:80']) {
    new AuthClient({ baseUrl, apiKey: KEY });
  }
  new AuthClient({ baseUrl: 'http://gw.example', apiKey: KEY, allowHttp: true });
});

async function withEnvironment(environment, work) {
  const before = { ...process.env };
  for (const name of Object.keys(before)) if (name.startsWith('PORTCULLIS_')) delete process.env[name];
  Object.assign(process.env, environment);
  try {
    return await work();
  } finally {
    for (const name of Object.keys(environment)) delete process.env[name];
    Object.assign(process.env, before);
  }
}

function resolvers() {
  let resolve;
  const promise = new Promise((given) => (resolve = given));
  return { promise, resolve };
}
