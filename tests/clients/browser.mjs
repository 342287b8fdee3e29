// The person at the browser, scripted: follows an authorization URL through sign-in and consent to the client's redirect
// URI, as Chromium would send it. A server that only works with a lenient browser fails here.

import http from 'node:http';
import https from 'node:https';
import './localhost.mjs';

const MAX_PAGES = 20;
const MAX_REDIRECTS = 20;

/**
 * Opens `start`, signs in where a page asks for a password, allows where one asks for a decision, submits any other
 * single form, and calls the client's redirect URI. Returns that URI with everything the authorization server added.
 *
 * @param {string | URL} start the authorization URL
 * @param {{user: string, password: string, stop?: string}} person `stop`: the redirect URI; default: the one in `start`
 */
export async function authorize(start, { user, password, stop }) {
  const end = stop ?? new URL(start).searchParams.get('redirect_uri');
  const browser = new Browser(end);
  let page = await browser.navigate(new URL(start));
  let signedIn = false;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    if (page.stopped) return page.url;
    const forms = formsOf(page.body);
    const login = forms.find((form) => has(form, 'password'));
    const consent = forms.find((form) => form.buttons.some(approves));
    if (login) {
      if (signedIn) throw stuck(page, 'the password is asked for again');
      signedIn = true;
      page = await browser.submit(page, login, { username: user, password });
    } else if (consent) {
      page = await browser.submit(page, consent, { decision: 'approve' });
    } else if (forms.length === 1) {
      page = await browser.submit(page, forms[0], {});
    } else {
      throw stuck(page, `${forms.length} forms, and none to press`);
    }
  }
  throw stuck(page, `after ${MAX_PAGES} pages there is no end`);
}

class Browser {
  // By host and port: two servers on 127.0.0.1 stand for two sites.
  #cookies = new Map();
  #end;

  constructor(end) {
    this.#end = new URL(end);
  }

  /** A navigation, `from` the page whose form was sent (absent: typed in, or opened by another program). */
  async navigate(url, { method = 'GET', body, from } = {}) {
    const crossed = new Set();
    for (let redirects = 0; redirects < MAX_REDIRECTS; redirects += 1) {
      if (from) allowedByFormAction(from, url);
      crossed.add(url.origin);
      const headers = { accept: 'text/html,*/*;q=0.8', 'user-agent': 'Mozilla/5.0 (scripted)' };
      headers['sec-fetch-site'] = from ? site(from.url, crossed) : 'none';
      headers['sec-fetch-mode'] = 'navigate';
      headers['sec-fetch-dest'] = 'document';
      if (method === 'POST') {
        headers['content-type'] = 'application/x-www-form-urlencoded';
        headers.origin = originHeader(from, crossed);
      }
      const answer = await this.#request(url, method, headers, body);
      if (this.#isEnd(url)) {
        if (answer.status >= 400) throw stuck({ ...answer, url }, 'the client refused its callback');
        return { stopped: true, url };
      }
      if (![301, 302, 303, 307, 308].includes(answer.status)) return { ...answer, url };
      url = new URL(answer.headers.location, url);
      if (answer.status < 307) [method, body] = ['GET', undefined];
    }
    throw new Error(`more than ${MAX_REDIRECTS} redirects, the last to ${url}`);
  }

  /** Sends a form with its hidden fields and these values. */
  submit(page, form, values) {
    const fields = new URLSearchParams({ ...form.fields, ...values });
    const url = new URL(form.action, page.url);
    if (form.post) return this.navigate(url, { method: 'POST', body: fields.toString(), from: page });
    url.search = fields;
    return this.navigate(url, { from: page });
  }

  #isEnd(url) {
    return url.origin === this.#end.origin && url.pathname === this.#end.pathname;
  }

  #request(url, method, headers, body) {
    const jar = this.#cookies.get(url.host) ?? new Map();
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    if (cookie) headers.cookie = cookie;
    return new Promise((resolve, reject) => {
      const { request: open } = url.protocol === 'https:' ? https : http;
      const request = open(url, { method, headers, agent: false }, async (response) => {
        try {
          for (const line of response.headers['set-cookie'] ?? []) keep(jar, line, url);
          this.#cookies.set(url.host, jar);
          const chunks = await response.setEncoding('utf8').toArray();
          resolve({ status: response.statusCode, headers: response.headers, body: chunks.join('') });
        } catch (error) {
          reject(error);
        }
      });
      request.on('error', (error) => reject(new Error(`${method} ${url}: ${error.message}`, { cause: error })));
      request.end(body);
    });
  }
}

/** RFC 6265bis §5.7 as far as it matters here: `Secure` and `__Host-` are refused where they do not belong. */
function keep(jar, line, url) {
  const [pair, ...attributes] = line.split(';').map((part) => part.trim());
  const [name, ...value] = pair.split('=');
  const given = (pattern) => attributes.some((part) => pattern.test(part));
  const secure = given(/^secure$/i);
  if (secure && url.protocol !== 'https:') return;
  if (name.startsWith('__Host-') && !(secure && given(/^path=\/$/i) && !given(/^domain=/i))) return;
  if (given(/^max-age=(0|-\d+)$/i) || given(/^expires=.*\b1970\b/i)) jar.delete(name);
  else jar.set(name, value.join('='));
}

/** Sec-Fetch-Site: the furthest that the chain of redirects has gone from the page that began it. */
function site(page, origins) {
  if ([...origins].every((origin) => origin === page.origin)) return 'same-origin';
  return [...origins].every((origin) => new URL(origin).hostname === page.hostname) ? 'same-site' : 'cross-site';
}

/** Fetch §3.2: `null` once redirected across origins, and from pages that send no referrer at all. */
function originHeader(from, crossed) {
  if (!from || crossed.size > 1 || from.headers['referrer-policy'] === 'no-referrer') return 'null';
  return from.url.origin;
}

/** Chromium applies a page's `form-action` to the form's target and to every redirect after it. */
function allowedByFormAction(page, url) {
  const policies = (page.headers['content-security-policy'] ?? '').split(';').map((part) => part.trim().split(/\s+/));
  const sources = policies.find(([name]) => name === 'form-action')?.slice(1);
  if (!sources) return;
  const fits = (source) => {
    if (source === "'self'") return url.origin === page.url.origin;
    if (/^[a-z][a-z0-9+.-]*:$/.test(source)) return url.protocol === source;
    const [, scheme, host, port] = /^(?:([a-z]+):\/\/)?([^:/]+)(?::(\d+|\*))?/.exec(source) ?? [];
    const hostFits = host?.startsWith('*.') ? url.hostname.endsWith(host.slice(1)) : url.hostname === host;
    return hostFits && (!scheme || url.protocol === `${scheme}:`) && (port === '*' || url.port === (port ?? ''));
  };
  if (!sources.some(fits)) throw stuck(page, `form-action ${sources.join(' ')} does not let the browser go to ${url}`);
}

/** The forms of a page; good enough for pages written by hand or by a template engine. */
function formsOf(html) {
  return [...html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gis)].map(([, tag, inside]) => {
    const form = { action: attribute(tag, 'action'), post: /^post$/i.test(attribute(tag, 'method')), fields: {}, buttons: [] };
    for (const [, element, rest] of inside.matchAll(/<(input|button)\b([^>]*)>/gis)) {
      const [name, value, type] = ['name', 'value', 'type'].map((key) => attribute(rest, key));
      if (element.toLowerCase() === 'button' || type === 'submit') form.buttons.push({ name, value });
      else if (name && (!/^(checkbox|radio)$/i.test(type) || /\bchecked\b/i.test(rest))) form.fields[name] = value;
    }
    return form;
  });
}

function attribute(tag, name) {
  const [, quoted, single, bare] = new RegExp(`(?:^|\\s)${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i').exec(tag) ?? [];
  return unescape(quoted ?? single ?? bare ?? '');
}

function unescape(text) {
  const named = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(amp|lt|gt|quot|apos));/gi, (_, hex, decimal, name) =>
    name ? named[name.toLowerCase()] : String.fromCodePoint(hex ? parseInt(hex, 16) : Number(decimal)),
  );
}

function has(form, name) {
  return name in form.fields;
}

function approves({ name, value }) {
  return name === 'decision' && value === 'approve';
}

function stuck({ status, url, body = '' }, why) {
  const text = unescape(body.replace(/<(style|script)\b.*?<\/\1>/gis, ' ').replace(/<[^>]*>/g, ' ')).replace(/\s+/g, ' ');
  return new Error(`${why}: ${status} at ${url}: ${text.trim().slice(0, 600)}`);
}
