// A certificate for `gw.test` and all names below it, trusted by the browser of these tests alone.

import { execFileSync } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DIRECTORY = fileURLToPath(new URL('../node_modules/.certificate', import.meta.url));

export interface Certificate {
  cert: string;
  key: string;
  /** What Chromium knows it by: SHA-256 of the public key, in base64. */
  pin: string;
}

/** The files, made when they are not there. */
export function certificate(): Certificate {
  const [cert, key] = [`${DIRECTORY}/cert.pem`, `${DIRECTORY}/key.pem`];
  if (!existsSync(cert)) {
    mkdirSync(DIRECTORY, { recursive: true });
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3650'];
    const names = ['-subj', '/CN=gw.test', '-addext', 'subjectAltName=DNS:gw.test,DNS:*.gw.test'];
    execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  }
  const spki = new X509Certificate(readFileSync(cert)).publicKey.export({ type: 'spki', format: 'der' });
  return { cert, key, pin: createHash('sha256').update(spki).digest('base64') };
}
