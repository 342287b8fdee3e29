// What people do again and again: letting a client in, and saying yes to the upstream.

import type { Page } from '@playwright/test';
import { Client } from './client.ts';
import { expect } from './test.ts';

/** On the page of consent, and then at the upstream's own authorization server where it asks. */
export async function allow(page: Page, client: Client): Promise<void> {
  await page.getByRole('button', { name: 'Allow access' }).click();
  await allowUpstream(page, (url) => url.startsWith(client.redirectUri));
}

/** Presses the buttons of `oidc-provider` (one for the sign-in, one for the consent) until the browser has arrived. */
export async function allowUpstream(page: Page, arrived: (url: string) => boolean): Promise<void> {
  while (!arrived(page.url())) {
    await page.getByRole('button', { name: 'Allow', exact: true }).click();
    await page.waitForLoadState();
  }
}

/** A client that whoever is signed in on the page has let in. */
export async function letIn(page: Page, url: string, metadata: object = {}): Promise<Client> {
  const client = await Client.register(url, metadata);
  await page.goto(client.authorizationUrl());
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Allow');
  await allow(page, client);
  await client.arrive(page.url());
  return client;
}
