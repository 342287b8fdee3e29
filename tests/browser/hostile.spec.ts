// Whatever strangers call themselves and whatever upstreams say is text: nothing of it runs, loads or leads anywhere.

import type { Page } from '@playwright/test';
import { Client } from './support/client.ts';
import { allow } from './support/flow.ts';
import { CORPUS, Hostile } from './support/hostile.ts';
import { roomsOf } from './support/pages.ts';
import { expect, test } from './support/test.ts';

/** Elements and attributes that no page of ours has. */
const FOREIGN = 'iframe, object, embed, base, style, main script, main link, [onerror], [onload], [onfocus], [href^="javascript:" i], meta[http-equiv]';

test('what clients call themselves is shown and does not run', async ({ page, world }) => {
  test.setTimeout(300_000);
  const troubles = watch(page);
  for (const text of CORPUS) {
    const client = await Client.register(world.url, { client_name: text, client_uri: 'https://evil.example/' });
    await page.goto(client.authorizationUrl());
    await harmless(page, text);
    await allow(page, client);
    await client.arrive(page.url());
    client.stop();
  }
  await page.goto('/account');
  await expect(page.getByRole('main')).toContainText(CORPUS[0]!);
  for (const path of await roomsOf(world, 'alice')) {
    await page.goto(path);
    await harmless(page, path);
  }
  expect(troubles).toEqual([]);
});

test('what an upstream says is shown and does not run', async ({ page, world }) => {
  test.setTimeout(300_000);
  const troubles = watch(page);
  const hostile = await Hostile.start();
  const client = await Client.register(await world.gateway.address(`${hostile.authority}/mcp`), { client_name: 'Notebook' });
  for (const mood of ['deny', 'fail', 'grant'] as const) {
    hostile.mood = mood;
    await page.goto(client.authorizationUrl());
    const approve = page.getByRole('button', { name: 'Approve server' });
    if (await approve.isVisible()) await approve.click();
    await harmless(page, `${mood}: consent`);
    await page.getByRole('button', { name: 'Allow access' }).click();
    await page.waitForLoadState();
    expect(page.url().startsWith(client.redirectUri), mood).toBe(mood === 'grant');
    if (mood !== 'grant') await harmless(page, `${mood}: answer`);
  }
  await client.arrive(page.url());
  await client.call('anything');
  for (const path of [`/servers/${hostile.authority}`, ...(await roomsOf(world, 'alice'))]) {
    await page.goto(path);
    await harmless(page, path);
  }
  expect(troubles).toEqual([]);
  client.stop();
  hostile.stop();
});

test('what people type comes back as text', async ({ page }) => {
  const troubles = watch(page);
  for (const text of CORPUS.slice(0, 8)) {
    const typed = encodeURIComponent(text);
    const pages = [`/encode?domain=${typed}`, `/doctor?target=${typed}`, `/device?user_code=${typed}`, `/login?again=true&return_to=${typed}`];
    for (const path of [...pages, `/oauth/start?server=${typed}`, `/oauth/callback?error=${typed}&error_description=${typed}&state=x`, `/${typed}`]) {
      await page.goto(path);
      await harmless(page, path);
    }
  }
  expect(troubles).toEqual([]);
});

async function harmless(page: Page, what: string): Promise<void> {
  await expect(page.getByRole('heading', { level: 1 }).first(), what).toBeAttached();
  expect(await page.title(), what).toMatch(/ · Portcullis$/);
  expect(await page.locator(FOREIGN).evaluateAll((found) => found.map((element) => element.outerHTML)), what).toEqual([]);
}

/** Dialogs, requests to anywhere else, and what the policy stopped: it must not have come to that. */
function watch(page: Page): string[] {
  const troubles: string[] = [];
  page.on('dialog', (dialog) => {
    troubles.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    if (new URL(request.url()).hostname.endsWith('evil.example')) troubles.push(request.url());
  });
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) troubles.push(message.text());
  });
  page.on('pageerror', (error) => troubles.push(String(error)));
  return troubles;
}
