// What is taken back ends at once, what is open with it too, and the page says so.

import { letIn } from './support/flow.ts';
import { expect, signIn, test } from './support/test.ts';

test('a client whose access is revoked loses its open stream and its token', async ({ page, world }) => {
  const client = await letIn(page, world.url, { client_name: 'To be revoked' });
  const stream = await client.stream('/stream');
  expect(stream.first).toContain('begun');

  await page.goto('/account');
  await page.getByRole('button', { name: 'Revoke To be revoked' }).click();
  await stream.ended;
  await expect(page.getByRole('status').first()).toBeVisible();
  await expect(page.getByRole('button', { name: 'Revoke To be revoked' })).toHaveCount(0);
  expect((await client.call('whoami')).status).toBe(401);
  client.stop();
});

test('a connection that is cut ends the streams that used it', async ({ page, world }) => {
  const client = await letIn(page, world.url);
  const stream = await client.stream('/stream');
  await page.goto('/connections');
  // Other tests of this worker connect servers of their own, on ports that the system picks.
  await page.getByRole('button', { name: `Disconnect ${world.upstream.authority}` }).click();
  await stream.ended;
  await expect(page.getByRole('status').first()).toBeVisible();
  const refused = await client.call('whoami');
  expect(refused.status).toBe(401);
  expect(refused.headers['www-authenticate']).toContain('resource_metadata');
  client.stop();
});

test.describe('in two browsers', () => {
  test.use({ person: 'nobody' });

  test('whoever signs the other one out has signed it out', async ({ page, browser, world }) => {
    const elsewhere = await browser.newContext({ baseURL: world.gateway.root, storageState: undefined });
    const other = await elsewhere.newPage();
    await signIn(other, 'bob');
    await signIn(page, 'bob');
    await page.goto('/account');
    await page.getByRole('button', { name: 'Sign out all browsers', exact: true }).click();
    await other.goto('/account');
    await expect(other).toHaveURL(/\/login/);
    await elsewhere.close();
  });
});
