// What a sibling host of the dashboard can do to it: cookies, forms, frames, service workers. Once as an upstream behind the
// gateway, which is what upstreams are, and once, worse, as a host of the same domain that no gateway stands before.

import type { Browser, BrowserContext, Page } from '@playwright/test';
import { certificate } from './support/certificate.ts';
import { Client } from './support/client.ts';
import { Evil } from './support/evil.ts';
import { Gateway } from './support/gateway.ts';
import { ask } from './support/http.ts';
import { PASSWORD, expect, signIn, test } from './support/test.ts';

/** Of forms and their fields, as somebody who knows the program would forge them. */
const FORMS: [string, Record<string, string>][] = [
  ['/logout', {}],
  ['/login', { username: 'mallory', password: PASSWORD }],
  ['/setup', { token: 'x', username: 'mallory', password: PASSWORD, password_again: PASSWORD }],
  ['/account/password', { password: PASSWORD, new_password: 'chosen by mallory', new_password_again: 'chosen by mallory' }],
  ['/account/sign-out-everywhere', { applications: 'end' }],
  ['/upstreams/approve', { authority: 'evil.example' }],
  ['/device', { user_code: 'BCDF-GHJK' }],
];
type State = Awaited<ReturnType<BrowserContext['storageState']>>;

/** Tries to install a service worker. */
const REGISTER = '(async () => { await navigator.serviceWorker.register("/sw.js"); return "registered" })().catch(String)';
/** What Chromium keeps for a domain, and more. */
const TOO_MANY = 200;

for (const scheme of ['https', 'http'] as const) {
  test.describe(`over ${scheme}`, () => {
    let house: House;
    let victim: BrowserContext;
    let page: Page;

    test.beforeAll(async ({ browser }) => {
      house = await House.start(scheme, browser);
    });
    test.afterAll(() => house.stop());
    test.beforeEach(async ({ browser }) => {
      victim = await browser.newContext({ baseURL: house.gateway.root, storageState: await house.victim() });
      page = await victim.newPage();
    });
    test.afterEach(() => victim.close());

    /** Whoever the dashboard takes the browser for. */
    const who = async (): Promise<string | undefined> => {
      await page.goto(`${house.gateway.root}/account`);
      return new URL(page.url()).pathname === '/login' ? undefined : page.locator('.who bdi').innerText();
    };

    test('a page of an upstream runs no script, sends no form and leaves no cookie', async () => {
      await house.openTheGate(victim);
      const before = await victim.cookies();
      house.upstream.serve('/page', {
        html: `<script>document.title = 'it ran'; document.cookie = 'portcullis=evil; Domain=${house.domain}'</script>
          <img src=x onerror="document.title = 'it ran'">
          <form method="post" action="${house.gateway.root}/logout"><button>Press</button></form>`,
        headers: {
          'set-cookie': [`portcullis=evil; Domain=${house.domain}; Path=/`, `__Host-portcullis=evil; Secure; Path=/`],
          'clear-site-data': '"*"',
          'service-worker-allowed': '/',
          'content-security-policy': "default-src * 'unsafe-inline'",
        },
      });
      const answer = await page.goto(`${house.through}/page`);
      expect(answer?.status()).toBe(200);
      await page.getByRole('button', { name: 'Press' }).click();
      expect(await page.title()).toBe('evil');
      expect(new URL(page.url()).pathname).toBe('/page');
      expect(await victim.cookies()).toEqual(before);
      expect(await who()).toBe('alice');
    });

    test('an upstream gets no service worker', async () => {
      await house.openTheGate(victim);
      house.upstream.serve('/sw.js', { script: 'self.addEventListener("fetch", (event) => event.respondWith(new Response("mine")))' });
      house.upstream.serve('/page', { html: 'nothing' });
      const script = await ask(`${house.through}/sw.js`, { headers: { ...house.accomplice.authorization, 'service-worker': 'script' } });
      expect(script.status).toBe(403);
      await page.goto(`${house.through}/page`);
      expect(await page.evaluate(REGISTER)).not.toBe('registered');
      // The control: where no gateway stands before it, the same script is one.
      house.sibling.serve('/sw.js', { script: 'self.addEventListener("fetch", (event) => event.respondWith(new Response("mine")))' });
      await page.goto(`${house.beside}/page`);
      expect(await page.evaluate(REGISTER)).toBe('registered');
      expect(await who()).toBe('alice');
    });

    test('a sibling cannot toss cookies', async () => {
      house.spendVictim();
      const stolen = await house.sessionOf('mallory');
      const lines = ['/', '/account', '/login'].flatMap((path) => [
        `portcullis=${stolen}; Domain=${house.domain}; Path=${path}`,
        `__Host-portcullis=${stolen}; Domain=${house.domain}; Path=${path}; Secure`,
        `__host-portcullis=${stolen}; Domain=${house.domain}; Path=${path}; Secure`,
        `=__Host-portcullis=${stolen}; Domain=${house.domain}; Path=${path}; Secure`,
      ]);
      house.sibling.serve('/toss', {
        html: `<script>for (const line of ${JSON.stringify(lines)}) document.cookie = line</script>`,
        headers: { 'set-cookie': lines },
      });
      await page.goto(`${house.beside}/toss`);
      expect(await who()).toBe('alice');
      // Nor may who signs in afterwards end up in somebody else's session.
      await page.getByRole('button', { name: 'Sign out', exact: true }).click();
      expect(await who()).toBeUndefined();
      await signIn(page, 'alice');
      expect(await who()).toBe('alice');
    });

    test('whoever is thrown out by too many cookies signs in again, as nobody else', async () => {
      house.spendVictim();
      const stolen = await house.sessionOf('mallory');
      house.sibling.serve('/evict', {
        html: `<script>
          for (let i = 0; i < ${TOO_MANY}; i += 1) document.cookie = 'c' + i + '=1; Domain=${house.domain}; Path=/; Secure';
          document.cookie = 'portcullis=${stolen}; Domain=${house.domain}; Path=/';
        </script>`,
      });
      await page.goto(`${house.beside}/evict`);
      const left = await who();
      expect([undefined, 'alice']).toContain(left);
      if (!left) await signIn(page, 'alice');
      expect(await who()).toBe('alice');
    });

    test('forms of a sibling do nothing', async () => {
      for (const [path, fields] of FORMS) {
        const inputs = Object.entries({ csrf_token: 'guessed', ...fields });
        const hidden = inputs.map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`).join('');
        house.sibling.serve('/form', { html: `<form method="post" action="${house.gateway.root}${path}">${hidden}<button>Press</button></form>` });
        await page.goto(`${house.beside}/form`);
        const [answer] = await Promise.all([
          page.waitForResponse((response) => response.request().method() === 'POST'),
          page.getByRole('button', { name: 'Press' }).click(),
        ]);
        // Where the browser sends no cookie along, nobody is signed in, and that is all that it comes to.
        if (answer.status() < 400) expect(answer.headers()['location'], path).toMatch(/^\/(login.*)?$/);
        await page.waitForLoadState();
        expect(await who(), path).toBe('alice');
      }
      house.sibling.serve('/fetch', { html: 'nothing' });
      await page.goto(`${house.beside}/fetch`);
      const sent = (path: string, mode: RequestMode) =>
        page.evaluate(
          ([url, how]) =>
            fetch(url!, { method: 'POST', mode: how as RequestMode, credentials: 'include', body: new URLSearchParams({ csrf_token: '' }) }).then(
              (response) => response.type,
              () => 'refused',
            ),
          [house.gateway.root + path, mode],
        );
      expect(await sent('/logout', 'no-cors')).toBe('opaque');
      expect(await sent('/logout', 'cors')).toBe('refused');
      expect(await who()).toBe('alice');
    });

    test('a sibling can neither frame nor read the dashboard', async () => {
      house.sibling.serve('/frame', { html: `<iframe src="${house.gateway.root}/account" title="framed"></iframe>` });
      await page.goto(`${house.beside}/frame`);
      const frame = page.frames().find((frame) => frame !== page.mainFrame());
      await expect.poll(() => frame?.url()).toMatch(/^chrome-error:/);
      const reading = (url: string) => fetch(url, { credentials: 'include' }).then((response) => response.text(), () => 'refused');
      expect(await page.evaluate(reading, `${house.gateway.root}/account`)).toBe('refused');
      // A window that it opens is not its own any more (Cross-Origin-Opener-Policy).
      const [opened] = await Promise.all([
        victim.waitForEvent('page'),
        page.evaluate((url) => {
          (globalThis as { opened?: Window | null }).opened = open(url);
        }, `${house.gateway.root}/account`),
      ]);
      await opened.waitForLoadState();
      expect(await opened.locator('.who bdi').innerText()).toBe('alice');
      expect(await opened.evaluate(() => window.opener === null)).toBe(true);
      expect(await page.evaluate(() => (globalThis as { opened?: Window }).opened?.closed)).toBe(true);
    });
  });
}

/** A gateway with a victim and an attacker, the attacker's server as its upstream, and another beside it. */
class House {
  readonly domain: string;
  /** The upstream's address at the gateway. */
  through = '';
  /** The attacker's own token for it: no browser has one, so the tests hand it over. */
  accomplice!: Client;
  readonly gateway: Gateway;
  readonly upstream: Evil;
  readonly sibling: Evil;
  readonly #scheme: string;
  readonly #browser: Browser;
  #victim: State | undefined;

  private constructor(scheme: string, domain: string, browser: Browser, gateway: Gateway, servers: [Evil, Evil]) {
    this.#scheme = scheme;
    this.domain = domain;
    this.#browser = browser;
    this.gateway = gateway;
    [this.upstream, this.sibling] = servers;
  }

  static async start(scheme: 'https' | 'http', browser: Browser): Promise<House> {
    const tls = scheme === 'https' ? certificate() : undefined;
    const domain = tls ? 'gw.test' : 'localhost';
    const servers = await Promise.all([Evil.start(), Evil.start(tls)]);
    const authority = `127.0.0.1:${servers[0].port}`;
    const gateway = await Gateway.start({ domain, tls, more: `[[upstream]]\ndomain = "${authority}"\nauth = "none"\n` });
    gateway.run(['user', 'add', 'alice', '--admin', '--password-stdin'], PASSWORD);
    gateway.run(['user', 'add', 'mallory', '--password-stdin'], PASSWORD);
    const house = new House(scheme, domain, browser, gateway, servers);
    const url = await gateway.address(authority);
    house.through = new URL(url).origin;
    house.accomplice = await Client.register(url);
    await house.#as('mallory', async (page) => {
      await page.goto(house.accomplice.authorizationUrl());
      await page.getByRole('button', { name: 'Allow access' }).click();
      await page.waitForURL(`${house.accomplice.redirectUri}**`);
      await house.accomplice.arrive(page.url());
    });
    return house;
  }

  /** The host that no gateway stands before. */
  get beside(): string {
    return `${this.#scheme}://evil.${this.domain}:${this.sibling.port}`;
  }

  /** Upstreams answer only who has a token: from now on every request of this browser to the upstream does. */
  async openTheGate(context: BrowserContext): Promise<void> {
    await context.route(`${this.through}/**`, (route) =>
      route.continue({ headers: { ...route.request().headers(), ...this.accomplice.authorization } }),
    );
  }

  /** The browser of somebody who is signed in. */
  async victim(): Promise<State> {
    this.#victim ??= await this.#as('alice', (page) => page.context().storageState());
    return this.#victim;
  }

  /** Who signs out or in with it ends the session for the tests to come. */
  spendVictim(): void {
    this.#victim = undefined;
  }

  /** The cookie of a session that is good. */
  async sessionOf(person: string): Promise<string> {
    const { cookies } = await this.#as(person, (page) => page.context().storageState());
    return cookies.find(({ name }) => /^(__Host-)?portcullis$/.test(name))?.value ?? '';
  }

  async #as<T>(person: string, deed: (page: Page) => Promise<T>): Promise<T> {
    const context = await this.#browser.newContext({ baseURL: this.gateway.root, storageState: undefined });
    const page = await context.newPage();
    await signIn(page, person);
    const outcome = await deed(page);
    await context.close();
    return outcome;
  }

  async stop(): Promise<void> {
    this.accomplice.stop();
    this.upstream.stop();
    this.sibling.stop();
    await this.gateway.stop();
  }
}
