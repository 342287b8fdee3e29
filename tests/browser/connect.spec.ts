// A client, a person, and an upstream with an authorization server that the project did not write.

import { Client } from './support/client.ts';
import { allow, allowUpstream, letIn } from './support/flow.ts';
import { expect, signIn, test } from './support/test.ts';
import { Upstream } from './support/upstream.ts';

/** Of the account at the upstream (tests/clients/upstream.mjs). */
const CAROL = 'carol';

for (const { how, settings } of [
  { how: 'in an ordinary browser', settings: {} },
  { how: 'without JavaScript on a small phone', settings: { javaScriptEnabled: false, viewport: { width: 320, height: 568 } } },
]) {
  test.describe(how, () => {
    test.use({ person: 'nobody', ...settings });

    test('a person signs in, sees who asks for what, lets the client in and connects the upstream', async ({ page, world }) => {
      const client = await Client.register(world.url, { client_name: 'Notebook' });
      await page.goto(client.authorizationUrl());
      await signIn(page, 'bob');

      await expect(page.getByRole('heading', { level: 1 })).toContainText('Notebook');
      const main = page.getByRole('main');
      await expect(main).toContainText('Nobody has verified it');
      await expect(main).toContainText(world.url);
      await expect(main).toContainText('bob');
      await expect(main).toContainText('127.0.0.1');
      await allow(page, client);
      await client.arrive(page.url());

      const answer = await client.call('whoami');
      expect(answer.text).toContain(CAROL);
      await page.goto(`${world.gateway.root}/connections`);
      await expect(page.getByRole('main')).toContainText(world.upstream.authority);
      client.stop();
    });
  });
}

test.describe('by keyboard', () => {
  test.use({ person: 'nobody' });

  test('nothing of it needs a pointer', async ({ page, world }) => {
    const client = await Client.register(world.url);
    await page.goto(client.authorizationUrl());
    // The first field has the focus.
    await page.keyboard.type('alice');
    await page.keyboard.press('Tab');
    await page.keyboard.type('a password that is long enough');
    await page.keyboard.press('Enter');
    const allowed = page.getByRole('button', { name: 'Allow access' });
    await expect(allowed).toBeVisible();
    for (let steps = 0; steps < 20 && !(await allowed.evaluate((button) => button === document.activeElement)); steps += 1) {
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    await page.waitForLoadState();
    await allowUpstream(page, (url) => url.startsWith(client.redirectUri));
    await client.arrive(page.url());
    expect((await client.call('whoami')).status).toBe(200);
    client.stop();
  });
});

test('whoever denies sends the client away with nothing', async ({ page, world }) => {
  const client = await Client.register(world.url);
  await page.goto(client.authorizationUrl());
  await page.getByRole('button', { name: 'Deny' }).click();
  await page.waitForURL(`${client.redirectUri}**`);
  const { searchParams } = new URL(page.url());
  expect(searchParams.get('error')).toBe('access_denied');
  expect(searchParams.get('state')).toBe('a-state');
  expect(searchParams.has('code')).toBe(false);
  client.stop();
});

test('a server that nobody has used waits for an administrator, who reads its name in large letters', async ({ page, world, browser }) => {
  const unknown = await Upstream.start();
  const client = await Client.register(await world.gateway.address(unknown.mcp), { client_name: 'Explorer' });
  const member = await browser.newContext({ storageState: await world.session('bob') });
  const waiting = await member.newPage();
  await waiting.goto(client.authorizationUrl());
  await expect(waiting.getByRole('heading', { level: 1 })).toHaveText('This server has not been approved yet');
  await expect(waiting.getByRole('main')).toContainText(unknown.authority);

  await page.goto(client.authorizationUrl());
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Let this server in?');
  const domain = page.locator('.large.host', { hasText: unknown.authority });
  const size = await domain.evaluate((element) => Number.parseFloat(getComputedStyle(element).fontSize));
  expect(size).toBeGreaterThan(20);
  await expect(page.getByRole('main')).toContainText('Explorer');
  await page.getByRole('button', { name: 'Approve server' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Explorer');

  await waiting.getByRole('link', { name: 'Check again' }).click();
  await allow(waiting, client);
  await client.arrive(waiting.url());
  expect((await client.call('whoami')).text).toContain(CAROL);
  await member.close();
  await unknown.stop();
  client.stop();
});

test('a device gets in with the code that it shows, typed by a person', async ({ page, world }) => {
  await letIn(page, world.url).then((client) => client.stop());
  const device = await Client.register(world.url, { client_name: 'Television' });
  const asked = await device.deviceCode();
  expect(await device.poll(asked.device_code)).toBe('authorization_pending');

  await page.goto(asked.verification_uri);
  await page.getByLabel('Code').fill('BCDF-GHJK');
  await page.getByRole('button', { name: 'Continue' }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await page.getByLabel('Code').fill(asked.user_code.toLowerCase());
  await page.getByRole('button', { name: 'Continue' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Television');
  await expect(page.getByRole('main')).toContainText(asked.user_code);
  await page.getByRole('button', { name: 'Allow access' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Your device has access now');

  await expect.poll(() => device.poll(asked.device_code), { intervals: [1_000, 5_000, 5_000], timeout: 30_000 }).toBeUndefined();
  expect((await device.call('whoami')).text).toContain(CAROL);
  device.stop();
});

test('the address of a server, and from there to a connection', async ({ page, world }) => {
  await page.goto('/');
  const field = page.locator('input[name=domain]');
  await field.fill(world.upstream.mcp.replace('http://', ''));
  await field.press('Enter');
  await expect(page.getByRole('main')).toContainText(world.url);
  await page.getByRole('link', { name: /^Connect your account/ }).click();
  await page.waitForLoadState();
  await allowUpstream(page, (url) => url.startsWith(world.gateway.root) && !url.includes('/oauth/start'));
  await page.goto('/connections');
  await expect(page.getByRole('main')).toContainText(world.upstream.authority);
});
