// What every test begins with: a gateway of the worker's own with two people and a real upstream, and pages of browsers
// that are signed in or not.

import { test as base, expect, type Browser, type BrowserContext, type Page } from '@playwright/test';
import { Gateway } from './gateway.ts';
import { Upstream } from './upstream.ts';

export { expect };

export const PASSWORD = 'a password that is long enough';

export type Person = 'alice' | 'bob';

export interface Options {
  /** Who is signed in: alice administers, bob does not. */
  person: Person | 'nobody';
}

export interface World {
  gateway: Gateway;
  upstream: Upstream;
  /** The upstream's address at the gateway. */
  url: string;
  /** Cookies of somebody who is signed in. */
  session(person: Person): Promise<Awaited<ReturnType<BrowserContext['storageState']>>>;
}

/** A server that knows people by keys of their own, and a service of the token broker. Nobody asks them anything. */
const MORE = `
[[upstream]]
domain = "weather.example"
name = "Weather"
auth = "header"
header = "x-api-key"
personal = true

[[service]]
preset = "github"
client_id = "client"
client_secret = "secret"
`;

export const test = base.extend<Options, { world: World }>({
  world: [
    async ({ browser }, use) => {
      const [gateway, upstream] = await Promise.all([Gateway.start({ more: MORE }), Upstream.start()]);
      gateway.run(['user', 'add', 'alice', '--admin', '--password-stdin'], PASSWORD);
      gateway.run(['user', 'add', 'bob', '--password-stdin'], PASSWORD);
      gateway.run(['upstream', 'approve', upstream.authority]);
      const sessions = new Map<Person, Awaited<ReturnType<BrowserContext['storageState']>>>();
      const session = async (person: Person) => {
        const known = sessions.get(person) ?? (await signedIn(browser, gateway, person));
        sessions.set(person, known);
        return known;
      };
      await use({ gateway, upstream, url: await gateway.address(upstream.mcp), session });
      await Promise.all([gateway.stop(), upstream.stop()]);
    },
    { scope: 'worker' },
  ],
  person: ['alice', { option: true }],
  baseURL: ({ world }, use) => use(world.gateway.root),
  storageState: async ({ world, person }, use) => use(person === 'nobody' ? undefined : await world.session(person)),
});

async function signedIn(browser: Browser, gateway: Gateway, person: Person) {
  const context = await browser.newContext({ baseURL: gateway.root, storageState: undefined });
  await signIn(await context.newPage(), person);
  const state = await context.storageState();
  await context.close();
  return state;
}

/** Signs in with name and password on the page that asks for it. */
export async function signIn(page: Page, person: string, password = PASSWORD): Promise<void> {
  if (!new URL(page.url(), 'http://nowhere').pathname.startsWith('/login')) await page.goto('/login');
  await page.getByLabel('Name', { exact: true }).fill(person);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await expect(page).not.toHaveURL(/\/login/);
}
