// Upstreams: a real one, with an authorization server that the project did not write.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';

/** An MCP server of the official SDK behind the npm package `oidc-provider` (tests/clients/upstream.mjs). */
export class Upstream {
  /** `http://127.0.0.1:41234/mcp` */
  readonly mcp: string;
  readonly #child: ChildProcess;

  private constructor(mcp: string, child: ChildProcess) {
    this.mcp = mcp;
    this.#child = child;
  }

  static async start(): Promise<Upstream> {
    const program = fileURLToPath(new URL('../../clients/upstream.mjs', import.meta.url));
    // It ends when its standard input does. What it says beside the first line is not for anybody.
    const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'ignore'] });
    const [line] = await once(createInterface({ input: child.stdout! }), 'line');
    return new Upstream(JSON.parse(String(line)).mcp, child);
  }

  get authority(): string {
    return new URL(this.mcp).host;
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.stdin!.end();
    await ended;
  }
}
