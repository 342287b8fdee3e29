// Other ways to sign in than a password.

import { createHmac } from 'node:crypto';
import type { CDPSession, Page } from '@playwright/test';
import { PASSWORD, expect, signIn, test } from './support/test.ts';

test.use({ person: 'nobody' });

// Each has an account of its own: what is added here is asked of everybody who signs in with it.
test.beforeAll(({ world }) => {
  for (const name of ['passkey', 'authenticator']) world.gateway.run(['user', 'add', name, '--password-stdin'], PASSWORD);
});

test('a passkey is made, signs in, and is worth nothing once it is removed', async ({ page }) => {
  await withAuthenticator(page);
  await signIn(page, 'passkey');
  await page.goto('/account');
  await page.getByLabel(/A name for a new passkey/).fill('My laptop');
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await expect(page.getByRole('heading', { name: 'My laptop' })).toBeVisible();

  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.goto('/login?return_to=/account');
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await expect(page.getByRole('main')).toContainText('with passkey');

  await page.getByRole('button', { name: 'Remove My laptop' }).click();
  await expect(page.getByRole('heading', { name: 'My laptop' })).toHaveCount(0);
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.goto('/login');
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await expect(page.getByRole('alert')).toContainText('not known here');
});

test('an authenticator app is set up and asked for, and a wrong code gets nobody in', async ({ page }) => {
  await signIn(page, 'authenticator');
  await page.goto('/account');
  await page.getByRole('button', { name: 'Set up' }).click();
  const secret = (await page.getByText('Or type this secret').locator('code').textContent()) ?? '';
  await page.getByLabel('Code', { exact: true }).fill('000000');
  await page.getByRole('button', { name: 'Confirm' }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await page.getByLabel('Code', { exact: true }).fill(totp(secret, -1));
  await page.getByRole('button', { name: 'Confirm' }).click();
  await expect(page.getByRole('main')).toContainText(/recovery codes/i);

  await page.goto('/');
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await signIn(page, 'authenticator').catch(() => undefined);
  await expect(page).toHaveURL(/\/login\/totp/);
  await page.getByLabel('Code of your authenticator app').fill('000000');
  await page.getByRole('button', { name: 'Continue' }).first().click();
  await expect(page.getByRole('alert')).toBeVisible();
  await page.getByLabel('Code of your authenticator app').fill(totp(secret, 0));
  await page.getByRole('button', { name: 'Continue' }).first().click();
  await expect(page.getByRole('link', { name: 'authenticator' })).toBeVisible();
});

/** An authenticator of the browser's own making, which always says yes. */
async function withAuthenticator(page: Page): Promise<CDPSession> {
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  await session.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return session;
}

/** RFC 6238, as an app on a phone whose clock is so many steps off: no code is taken twice. */
function totp(secret: string, off: number): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret.replace(/[\s=]/g, '').toUpperCase()].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0'));
  const key = Buffer.from((bits.join('').match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + off));
  const digest = createHmac('sha1', key).update(counter).digest();
  const offset = digest[19]! & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}
