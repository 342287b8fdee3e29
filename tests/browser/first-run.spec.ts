// Somebody has just installed it.

import { PASSWORD, expect, test } from './support/test.ts';
import { Gateway } from './support/gateway.ts';

test.use({ person: 'nobody' });

test('whoever holds the link claims the gateway, once, and signs in again afterwards', async ({ page }) => {
  const gateway = await Gateway.start();
  try {
    await page.goto(gateway.root);
    await expect(page.getByRole('heading', { name: 'Nobody administers this gateway yet' })).toBeVisible();

    await page.goto(`${gateway.root}/setup?token=not-the-one`);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('This link is not good');

    await page.goto(gateway.setupLink);
    await expect(page.getByLabel('Name', { exact: true })).toBeFocused();
    await page.getByLabel('Name', { exact: true }).fill('ann');
    await page.getByLabel(/^Password at least/).fill(PASSWORD);
    await page.getByLabel('Password again').fill('another password, by mistake');
    await page.getByRole('button', { name: 'Claim and sign in' }).click();
    await expect(page.getByRole('alert')).toBeVisible();
    await expect(page.getByLabel('Name', { exact: true })).toHaveValue('ann');

    await page.getByLabel(/^Password at least/).fill(PASSWORD);
    await page.getByLabel('Password again').fill(PASSWORD);
    await page.getByRole('button', { name: 'Claim and sign in' }).click();
    await expect(page.getByRole('link', { name: 'ann' })).toBeVisible();
    await expect(page.getByRole('navigation', { name: 'Dashboard' }).getByRole('link', { name: 'People' })).toBeVisible();

    await page.goto(gateway.setupLink);
    await expect(page.getByRole('heading', { level: 1 })).not.toHaveText('Claim this gateway');

    await page.goto(gateway.root);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByLabel('Name', { exact: true }).fill('ann');
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await page.keyboard.press('Enter');
    await expect(page.getByRole('link', { name: 'ann' })).toBeVisible();
  } finally {
    await gateway.stop();
  }
});
