// Where the broker is, and with which key: from options or the environment, checked once.

import { ConfigurationError } from './errors.ts';

/** Finds the personal access token of a service. */
export type Pats = (service: string) => string | undefined;

/** The root of the gateway, without a slash at its end. */
export function baseUrl(given: string | undefined, allowHttp: boolean): string {
  const text = given ?? environment('PORTCULLIS_URL');
  if (!text) throw new ConfigurationError('Where is Portcullis? Set PORTCULLIS_URL, for example https://gw.example.com');
  const url = parsed(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
    throw new ConfigurationError('PORTCULLIS_URL must be like https://gw.example.com');
  }
  if (url.protocol === 'http:' && !allowHttp && !isLoopback(url.hostname)) {
    throw new ConfigurationError(
      `PORTCULLIS_URL sends the API key to ${url.hostname} without encryption: use https, or say \`allowHttp: true\` when ` +
        'the network between is your own',
    );
  }
  return url.href.replace(/\/+$/, '');
}

/** A function that gives the API key, `id.secret`; from a file only when it is first asked. */
export function apiKey(given: string | undefined): () => string | Promise<string> {
  const [key, file] = [given ?? environment('PORTCULLIS_API_KEY'), environment('PORTCULLIS_API_KEY_FILE')];
  if (given === undefined && key && file) {
    throw new ConfigurationError('PORTCULLIS_API_KEY and PORTCULLIS_API_KEY_FILE are both set: unset one');
  }
  if (key) {
    const good = checked(key);
    return () => good;
  }
  if (!file) {
    throw new ConfigurationError(
      'Which API key? Set PORTCULLIS_API_KEY or PORTCULLIS_API_KEY_FILE; `portcullis apikey create NAME` makes one',
    );
  }
  let read: string | undefined;
  return async () => (read ??= checked(await contentOf(file)));
}

/** `given`, or `PORTCULLIS_PAT_GITHUB` of the environment for `github`. */
export function personalTokens(given: Readonly<Record<string, string>> | undefined): Pats {
  if (given) return (service) => (Object.hasOwn(given, service) ? given[service] : undefined) || undefined;
  return (service) => environment(`PORTCULLIS_PAT_${service.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`) || undefined;
}

/** A web address that can be parsed. */
export function parsed(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

function checked(key: string): string {
  const good = key.trim();
  // The key itself is in no text, however wrong it is.
  if (!/^[!-~]+\.[!-~]+$/.test(good)) {
    throw new ConfigurationError(
      'PORTCULLIS_API_KEY is not of the form id.secret: give the value `key` that `portcullis apikey create NAME --json` printed',
    );
  }
  return good;
}

async function contentOf(file: string): Promise<string> {
  try {
    // Not written as an import, so that bundlers for places without files leave it alone.
    const name = 'node:fs/promises';
    const { readFile } = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as {
      readFile(path: string, encoding: string): Promise<string>;
    };
    return await readFile(file, 'ascii');
  } catch {
    throw new ConfigurationError(`PORTCULLIS_API_KEY_FILE: ${file} cannot be read`);
  }
}

function environment(name: string): string | undefined {
  // Workers have none, Deno asks for a permission.
  try {
    const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
    return process?.env?.[name];
  } catch {
    return undefined;
  }
}

function isLoopback(host: string): boolean {
  return /^(?:(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\])$/.test(host);
}
