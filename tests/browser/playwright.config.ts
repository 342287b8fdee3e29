import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { defineConfig } from '@playwright/test';
import { certificate } from './support/certificate.ts';
import type { Options } from './support/test.ts';

/** What people have: Debian's Chromium, or another of its kind. Nothing is downloaded. */
const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome'];

export default defineConfig<Options>({
  outputDir: 'results',
  reporter: process.env['CI'] ? 'dot' : 'list',
  // Two gateways and two browsers at once: that is what a machine of two cores has.
  workers: 2,
  // Far beyond what a page takes: a machine that is busy elsewhere must not fail a test.
  timeout: 120_000,
  expect: { timeout: 20_000 },
  forbidOnly: Boolean(process.env['CI']),
  use: {
    actionTimeout: 20_000,
    browserName: 'chromium',
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: found(),
      args: [
        '--disable-gpu',
        `--ignore-certificate-errors-spki-list=${certificate().pin}`,
        // Nobody but this machine. `*.localhost` is loopback by itself (RFC 6761 §6.3).
        '--host-resolver-rules=MAP gw.test 127.0.0.1, MAP *.gw.test 127.0.0.1, MAP * ~NOTFOUND, ' +
          'EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1',
      ],
    },
  },
});

function found(): string {
  const places = (process.env['PATH'] ?? '').split(delimiter);
  const all = places.flatMap((place) => PROGRAMS.map((name) => join(place, name)));
  const program = all.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!program) throw new Error('a browser: install chromium');
  return program;
}
