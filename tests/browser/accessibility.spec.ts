// Every page, as everybody can use it: axe in both schemes, a small phone, a keyboard, no JavaScript.

import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { STRANGERS_PAGES, furnish, roomsOf } from './support/pages.ts';
import { expect, test, type Person } from './support/test.ts';

/** The smallest phone that counts (WCAG 2.2, 1.4.10), in CSS pixels. */
const SMALL = { width: 320, height: 640 };
const LARGE = { width: 1280, height: 800 };
/** What a thumb hits, in CSS pixels. */
const TARGET = 44;

for (const { name, person, open } of STRANGERS_PAGES) {
  test.describe(() => {
    test.use({ person });

    test(`everybody can use the page ${name}`, async ({ page, world }) => {
      await open(page, world);
      await inspect(page, name);
    });
  });
}

/** Who looks, and at which part of the rooms: an administrator has so many that two share the work. */
const VISITS: { person: Person; part: number; parts: number }[] = [
  { person: 'alice', part: 0, parts: 2 },
  { person: 'alice', part: 1, parts: 2 },
  { person: 'bob', part: 0, parts: 1 },
];

for (const { person, part, parts } of VISITS) {
  test.describe(() => {
    test.use({ person });

    test(`everybody can use what ${person} sees of the dashboard, ${part + 1} of ${parts}`, async ({ page, world, browser }) => {
      test.setTimeout(600_000);
      await furnish(page, world);
      const bare = { baseURL: world.gateway.root, storageState: await world.session(person), viewport: SMALL };
      const withoutScripts = await browser.newContext({ ...bare, javaScriptEnabled: false });
      const plain = await withoutScripts.newPage();
      const rooms = await roomsOf(world, person);
      expect(rooms.length).toBeGreaterThan(3);
      for (const path of rooms.filter((_, number) => number % parts === part)) {
        await page.setViewportSize(LARGE);
        await page.goto(path);
        await inspect(page, path);
        await plain.goto(path);
        await expect.soft(plain.getByRole('heading', { level: 1 }), path).toHaveCount(1);
        expect.soft(await overflow(plain), `${path} without JavaScript`).toEqual([]);
      }
      await withoutScripts.close();
    });
  });
}

async function inspect(page: Page, name: string): Promise<void> {
  // Buttons turn from one scheme's colours to the other's within a moment, but not for those who want nothing to move.
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  const light = await new AxeBuilder({ page }).analyze();
  expect.soft(told(light), `${name}, light`).toEqual([]);
  await page.emulateMedia({ colorScheme: 'dark' });
  const dark = await new AxeBuilder({ page }).withRules(['color-contrast', 'link-in-text-block']).analyze();
  expect.soft(told(dark), `${name}, dark`).toEqual([]);

  await expect.soft(page.getByRole('heading', { level: 1 }), name).toHaveCount(1);
  await expect.soft(page.getByRole('main'), name).toHaveCount(1);
  expect.soft(await unseenFocus(page), `${name}, by keyboard`).toEqual([]);
  await page.setViewportSize(SMALL);
  expect.soft(await overflow(page), `${name}, on a small phone`).toEqual([]);
  expect.soft(await smallTargets(page), `${name}, with a thumb`).toEqual([]);
}

function told({ violations }: Awaited<ReturnType<AxeBuilder['analyze']>>): string[] {
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`));
}

/** What makes a page wider than the window. */
function overflow(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll('body *')].filter((element) => element.getBoundingClientRect().right > width + 1);
    return ['wider than the window', ...wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 120))];
  });
}

/** Controls that are too low for a thumb; links inside of sentences may be. */
function smallTargets(page: Page): Promise<string[]> {
  return page.evaluate((target) => {
    const controls = 'button, .button, summary, nav a, select, textarea, input:not([type=hidden], [type=checkbox], [type=radio])';
    const low = [...document.querySelectorAll(controls)].filter((element) => {
      const { width, height } = element.getBoundingClientRect();
      return width > 1 && height > 0 && height < target;
    });
    return low.map((element) => `${element.getBoundingClientRect().height} px: ${element.outerHTML.slice(0, 120)}`);
  }, TARGET);
}

/** Goes through a page with Tab: what has the focus must be seen, and show that it has it. */
async function unseenFocus(page: Page): Promise<string[]> {
  await page.evaluate(() => {
    (document.activeElement as HTMLElement | null)?.blur();
    window.scrollTo(0, 0);
  });
  const [troubles, most] = [new Set<string>(), 25];
  for (let steps = 0; steps < most; steps += 1) {
    await page.keyboard.press('Tab');
    const trouble = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return 'end';
      const { width, height } = element.getBoundingClientRect();
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
      const shown = (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
      // Of a field with parts (a date, a time) the browser marks the part that has the focus.
      if (element.matches('input[type^=date]')) return undefined;
      return shown && width > 1 && height > 1 ? undefined : element.outerHTML.slice(0, 120);
    });
    if (trouble === 'end') break;
    if (trouble) troubles.add(trouble);
  }
  return [...troubles];
}
