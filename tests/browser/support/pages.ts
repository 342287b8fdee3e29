// Every page that there is: those that strangers see, by name, and those of the dashboard, by following links.

import type { Page } from '@playwright/test';
import { Client } from './client.ts';
import { letIn } from './flow.ts';
import { open } from './http.ts';
import { PASSWORD, type Person, type World } from './test.ts';

/** Where a program gets something else than a page, or where a person goes away. */
const NO_PAGES = /^\/(logout|oauth\/|auth\/|assets\/|api\/)|\/(stream|export)|^\/doctor\?/;
const furnished = new WeakSet<World>();
/** How many pages of one kind are looked at: `/people/1` and `/people/2` have the same template. */
const OF_A_KIND = 2;

/** The dashboard's pages that a person comes to by links, beginning with the first one. */
export async function roomsOf(world: World, person: Person): Promise<string[]> {
  const { cookies } = await world.session(person);
  const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  const [found, kinds, waiting] = [[] as string[], new Map<string, number>(), ['/']];
  const known = new Set(waiting);
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const answer = await open(world.gateway.root + path, { headers: { cookie } });
    if (answer.statusCode !== 200 || !answer.headers['content-type']?.startsWith('text/html')) {
      answer.destroy();
      continue;
    }
    const text = (await answer.setEncoding('utf8').toArray()).join('');
    found.push(path);
    for (const [, href = ''] of text.matchAll(/<a\b[^>]*\shref="(\/[^"]*)/g)) {
      const [next = ''] = href.replaceAll('&#38;', '&').replaceAll('&amp;', '&').split('#');
      const kind = kindOf(next);
      if (known.has(next) || NO_PAGES.test(next) || (kinds.get(kind) ?? 0) >= OF_A_KIND) continue;
      known.add(next);
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      waiting.push(next);
    }
  }
  return found;
}

/** What the address of a page has in common with those of its kind. */
function kindOf(path: string): string {
  const [, room = '', ...rest] = new URL(path, 'http://nowhere').pathname.split('/');
  return `${room}/${rest.length}`;
}

/** A page that somebody sees on the way in, or when something goes wrong. */
export interface StrangersPage {
  name: string;
  /** Who is signed in. */
  person: Person | 'nobody';
  open(page: Page, world: World): Promise<unknown>;
}

export const STRANGERS_PAGES: StrangersPage[] = [
  { name: 'landing', person: 'nobody', open: (page) => page.goto('/') },
  { name: 'login', person: 'nobody', open: (page) => page.goto('/login') },
  { name: 'login-refused', person: 'nobody', open: refused },
  { name: 'encoded', person: 'nobody', open: (page) => page.goto('/encode?domain=mcp.example.com/mcp') },
  { name: 'not-encoded', person: 'nobody', open: (page) => page.goto('/encode?domain=not a domain') },
  { name: 'not-found', person: 'nobody', open: (page) => page.goto('/nothing') },
  { name: 'consent', person: 'bob', open: (page, world) => authorize(page, world.url) },
  { name: 'not-approved', person: 'bob', open: unknown },
  { name: 'approval', person: 'alice', open: unknown },
  { name: 'device', person: 'bob', open: (page) => page.goto('/device') },
  { name: 'device-consent', person: 'bob', open: device },
  { name: 'credential', person: 'bob', open: (page) => page.goto('/oauth/start?server=weather.example') },
  { name: 'service', person: 'bob', open: (page) => page.goto('/auth/github?return_to=/account') },
  { name: 'not-administrator', person: 'bob', open: (page) => page.goto('/people') },
];

/** Gives a gateway what people have after a while: a connection, clients, keys, a server that waits for approval. */
export async function furnish(page: Page, world: World): Promise<void> {
  for (const name of ['Claude', 'Notebook']) {
    const client = await letIn(page, world.url, { client_name: name });
    for (let calls = 0; calls < 3; calls += 1) await client.call('whoami');
    client.stop();
  }
  if (furnished.has(world)) return;
  furnished.add(world);
  world.gateway.run(['apikey', 'create', 'nightly-report', '--service', 'github', '--user', 'bob', '--expires', '90d']);
  const bob = await page.context().browser()!.newContext({ baseURL: world.gateway.root, storageState: await world.session('bob') });
  await unknown(await bob.newPage(), world);
  await bob.close();
}

async function refused(page: Page): Promise<void> {
  await page.goto('/login');
  await page.getByLabel('Name', { exact: true }).fill('alice');
  await page.getByLabel('Password', { exact: true }).fill(`not ${PASSWORD}`);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('alert').waitFor();
}

async function authorize(page: Page, url: string): Promise<void> {
  const client = await Client.register(url, { client_name: 'Claude' });
  await page.goto(client.authorizationUrl());
  client.stop();
}

async function unknown(page: Page, world: World): Promise<void> {
  await authorize(page, await world.gateway.address('mcp.linear.example/mcp'));
}

async function device(page: Page, world: World): Promise<void> {
  const client = await Client.register(world.url, { client_name: 'Television' });
  await page.goto((await client.deviceCode()).verification_uri_complete);
  await page.getByRole('button', { name: 'Continue' }).click();
  client.stop();
}
