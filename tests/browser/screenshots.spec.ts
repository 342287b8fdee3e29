// The pictures of the documentation. They are kept as they are until somebody wants new ones (`make screenshots`); what
// is made otherwise goes with the other results.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page, TestInfo } from '@playwright/test';
import { STRANGERS_PAGES, furnish } from './support/pages.ts';
import { expect, test } from './support/test.ts';

const IMAGES = fileURLToPath(new URL('../../docs/images', import.meta.url));
const SHOWN = ['login', 'consent', 'approval', 'device'];
const ROOMS = { start: '/', connections: '/connections', activity: '/activity', servers: '/servers', people: '/people', programs: '/programs', system: '/system' };

test.use({ viewport: { width: 960, height: 720 } });

for (const { name, person, open } of STRANGERS_PAGES.filter(({ name }) => SHOWN.includes(name))) {
  test.describe(() => {
    test.use({ person });

    test(`a picture of ${name}`, async ({ page, world }, info) => {
      await open(page, world);
      await take(page, name, info);
    });
  });
}

test('pictures of the dashboard', async ({ page, world }, info) => {
  await furnish(page, world);
  for (const [name, path] of Object.entries(ROOMS)) {
    await page.goto(path);
    await take(page, name, info);
  }
  await page.setViewportSize({ width: 390, height: 760 });
  await page.goto('/connections');
  await take(page, 'phone', info);
});

async function take(page: Page, name: string, info: TestInfo): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const kept = `${IMAGES}/${name}-${colorScheme}.png`;
    const isWanted = process.env['PORTCULLIS_SCREENSHOTS'] || !existsSync(kept);
    const image = await page.screenshot({ path: isWanted ? kept : info.outputPath(`${name}-${colorScheme}.png`) });
    expect(image.length).toBeGreaterThan(1_000);
  }
}
