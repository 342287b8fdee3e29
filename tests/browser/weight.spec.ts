// What pages weigh, and how soon something is to be seen: the first is held to, the second told, since it says as much about
// the machine and whatever else runs there.

import { furnish, roomsOf } from './support/pages.ts';
import { expect, test } from './support/test.ts';

/** Of a page with everything that it loads, uncompressed, in bytes. */
const WEIGHT = 100_000;
/** The first time of each page is the browser's, too. */
const TIMES = 3;

test('no page is heavy', async ({ page, world }, info) => {
  test.setTimeout(300_000);
  await furnish(page, world);
  const table: string[] = [];
  for (const path of ['/login', ...(await roomsOf(world, 'alice'))]) {
    const [paints, weights] = [[] as number[], [] as number[]];
    for (let time = 0; time < TIMES; time += 1) {
      await page.goto(path);
      paints.push(await page.evaluate(firstPaint));
      weights.push(await page.evaluate(weight));
    }
    const [paint, heaviest] = [Math.round(Math.min(...paints)), Math.max(...weights)];
    table.push(`${path.padEnd(40)} ${String(heaviest).padStart(7)} bytes ${String(paint).padStart(4)} ms`);
    expect.soft(heaviest, path).toBeLessThan(WEIGHT);
  }
  await info.attach('pages', { body: table.join('\n'), contentType: 'text/plain' });
  console.log(table.join('\n'));
});

function weight(): number {
  const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
  return (all as PerformanceResourceTiming[]).reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0);
}

/** From the moment that the browser sets out. */
function firstPaint(): Promise<number> {
  return new Promise((resolve) => {
    new PerformanceObserver((list) => resolve(list.getEntries()[0]!.startTime)).observe({ type: 'paint', buffered: true });
  });
}
