// The program itself, with a configuration file in a directory of its own.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ask } from './http.ts';

const PROGRAM = process.env['PORTCULLIS'] ?? '';
const PATIENCE = 30_000;

export interface Settings {
  /** Default: `localhost`, over http. */
  domain?: string;
  /** Files of a certificate and its key. */
  tls?: { cert: string; key: string };
  /** More of the configuration, in TOML. */
  more?: string;
}

export class Gateway {
  /** `http://localhost:41234` */
  readonly root: string;
  /** What it said when it started, with the link that claims it. */
  readonly said: string[];
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(root: string, said: string[], child: ChildProcess, directory: string) {
    this.root = root;
    this.said = said;
    this.#child = child;
    this.#directory = directory;
  }

  static async start(settings: Settings = {}): Promise<Gateway> {
    if (!PROGRAM) throw new Error('PORTCULLIS names the program: make test-dashboard does that');
    const directory = mkdtempSync(join(tmpdir(), 'portcullis-browser-'));
    writeFileSync(join(directory, 'portcullis.toml'), configuration(directory, settings));
    const child = spawn(PROGRAM, ['serve', '-c', join(directory, 'portcullis.toml')], { stdio: ['ignore', 'pipe', 'pipe'] });
    const log: string[] = [];
    createInterface({ input: child.stderr! }).on('line', (line) => log.push(line));
    const said: string[] = [];
    const lines = createInterface({ input: child.stdout! });
    const listening = new Promise<string>((resolve, reject) => {
      const failed = (why: string) => reject(new Error(`the gateway ${why}:\n${[...said, ...log].join('\n')}`));
      const timer = setTimeout(() => failed('does not listen'), PATIENCE);
      child.once('exit', () => failed('ended'));
      lines.on('line', (line) => {
        said.push(line);
        const root = /^listening on \S+ \((.+)\)$/.exec(line)?.[1];
        if (!root) return;
        clearTimeout(timer);
        resolve(root);
      });
    });
    return new Gateway(await listening, said, child, directory);
  }

  /** The one-time link to the page that makes the first administrator. */
  get setupLink(): string {
    const link = this.said.map((line) => /\S+\/setup\?token=\S+/.exec(line)?.[0]).find(Boolean);
    if (!link) throw new Error(`no link: ${this.said.join('\n')}`);
    return link;
  }

  /** What people paste into a client to reach an upstream. */
  async address(upstream: string): Promise<string> {
    const query = new URLSearchParams({ domain: upstream.replace(/^https?:\/\//, '') });
    const { json } = await ask(`${this.root}/encode?${query}`, { headers: { accept: 'application/json' } });
    if (!json.url) throw new Error(JSON.stringify(json));
    return json.url;
  }

  /** A command of the program, beside the running gateway. */
  run(command: string[], input = ''): string {
    const arguments_ = [...command, '-c', join(this.#directory, 'portcullis.toml')];
    return execFileSync(PROGRAM, arguments_, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'] });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5_000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function configuration(directory: string, { domain = 'localhost', tls, more = '' }: Settings): string {
  const often = ['per_ip', 'per_user', 'per_user_upstream', 'per_client', 'token_endpoint', 'registration', 'login'];
  return `
[server]
domain = "${domain}"
listen = ["127.0.0.1:0"]
admin_listen = ""

[tls]
mode = "${tls ? 'files' : 'off'}"
${tls ? `cert = "${tls.cert}"\nkey = "${tls.key}"` : ''}

[store]
url = "sqlite://${directory}/portcullis.db"

[limits]
${often.map((limit) => `${limit} = "10000/s"`).join('\n')}

[streams]
drain = "1s"

[upstreams]
allow_private = true

${more}`;
}
