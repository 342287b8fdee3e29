// Every form, as it must not be filled in: it is refused with a page that says why, and nothing fails.

import type { Page } from '@playwright/test';
import { CORPUS } from './support/hostile.ts';
import { furnish, roomsOf } from './support/pages.ts';
import { PASSWORD, expect, test } from './support/test.ts';

interface Form {
  action: string;
  fields: { name: string; value: string }[];
}

const NONSENSE = ['', 'no such thing', '\u0000\r\n', CORPUS[1]!, '9'.repeat(5000), '-1', '../../etc/passwd'];
/** Beyond what the gateway reads of a form. */
const TOO_LARGE = 'x'.repeat(70_000);

test('every form of the dashboard refuses nonsense with a page', async ({ page, world }) => {
  test.setTimeout(600_000);
  await furnish(page, world);
  const forms = new Map<string, Form>();
  for (const path of await roomsOf(world, 'alice')) {
    await page.goto(path);
    for (const form of await formsOf(page)) forms.set(form.action, form);
  }
  expect(forms.size).toBeGreaterThan(8);
  for (const form of forms.values()) {
    const entries = form.fields.filter(({ name }) => name !== 'csrf_token');
    const token = form.fields.find(({ name }) => name === 'csrf_token')?.value ?? '';
    const send = (fields: Record<string, string>) => sent(page, form.action, fields);
    const asItIs = Object.fromEntries(entries.map(({ name, value }) => [name, value]));

    const forged = await send({ ...asItIs, csrf_token: 'x'.repeat(token.length) });
    expect.soft(forged.status, `${form.action} with another token`).toBe(403);
    const large = await send({ ...asItIs, csrf_token: token, more: TOO_LARGE });
    expect.soft(large.status, `${form.action}, too large`).toBeGreaterThanOrEqual(400);
    expect.soft(large.status, `${form.action}, too large`).toBeLessThan(500);
    // A form without anything to fill in does what it says, and any text is a password.
    if (entries.length === 0 || /sign-out|logout|totp\/begin|recovery-codes|people\/.*\/password/.test(form.action)) continue;
    for (const nonsense of NONSENSE) {
      const fields = Object.fromEntries(entries.map(({ name }) => [name, nonsense]));
      const { status, html } = await send({ ...fields, csrf_token: token });
      const what = `${form.action} with ${JSON.stringify(nonsense.slice(0, 20))}`;
      expect.soft(status, what).toBeLessThan(500);
      expect.soft(html, what).toContain('<h1');
      expect.soft(html.includes(CORPUS[1]!), what).toBe(false);
    }
  }
  // All of it has changed nothing about who is signed in.
  await page.goto('/account');
  await expect(page.locator('.who bdi')).toHaveText('alice');
});

test.describe('where mistakes happen', () => {
  test.use({ person: 'nobody' });

  test('a wrong password is told beside the form, and the name is kept', async ({ page }) => {
    for (const [name, password] of [
      ['alice', 'wrong'],
      ['nobody', PASSWORD],
    ] as const) {
      await page.goto('/login?return_to=/account');
      await page.getByLabel('Name', { exact: true }).fill(name);
      await page.getByLabel('Password', { exact: true }).fill(password);
      await page.getByRole('button', { name: 'Sign in', exact: true }).click();
      await expect(page.getByRole('alert')).toBeVisible();
      await expect(page.getByLabel('Name', { exact: true })).toHaveValue(name);
      await expect(page.getByLabel('Password', { exact: true })).toHaveValue('');
      // Read out with the fields.
      await expect(page.getByLabel('Password', { exact: true })).toHaveAccessibleDescription(/./);
    }
  });

  test('what is no address of a server is told, with what was typed', async ({ page }) => {
    for (const typed of ['not a domain', 'https://user:password@mcp.example.com/', 'mcp.example.com/$(reboot)', '[::1]', 'localhost']) {
      await page.goto(`/encode?domain=${encodeURIComponent(typed)}`);
      await expect(page.getByRole('heading', { level: 1 })).toHaveText('That is not an address of a server');
      await expect(page.locator('input[name=domain]')).toHaveValue(typed);
    }
  });
});

function formsOf(page: Page): Promise<Form[]> {
  return page.evaluate(() =>
    [...document.forms]
      .filter(({ method }) => method === 'post')
      .map((form) => ({
        action: form.getAttribute('action') ?? '',
        fields: ([...form.elements] as HTMLInputElement[])
          .filter(({ name }) => name)
          .map(({ name, value }) => ({ name, value })),
      })),
  );
}

/** As the page itself would send it, so that only the content decides. */
async function sent(page: Page, action: string, form: Record<string, string>): Promise<{ status: number; html: string }> {
  const headers = { origin: new URL(page.url()).origin, 'sec-fetch-site': 'same-origin' };
  const answer = await page.request.post(new URL(action, page.url()).href, { form, headers });
  return { status: answer.status(), html: await answer.text() };
}
