"""A scripted browser: what a person does between a client's authorization URL and its redirect URI.

It sends what Chromium sends with navigations (`Origin`, `Sec-Fetch-*`, cookies by origin), because the gateway decides
by these headers, and nothing else of a browser.
"""

import http.client
import os
import time
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import localhost  # noqa: F401  (the import is the effect)

TIMEOUT = 10  # seconds, each request, and how long a client may take until it listens
MAX_STEPS = 20
SITES = ["same-origin", "same-site", "cross-site"]


def authorize(url):
    """Signs in and allows, until the client's redirect URI has answered; returns the address it was called with."""
    return Browser().authorize(url, os.environ["GATEWAY_USER"], os.environ["GATEWAY_PASSWORD"])


class Browser:
    def __init__(self):
        self.cookies = {}

    def authorize(self, url, user, password):
        self.stop = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        page = self.navigate("GET", url)
        signed_in = False
        for _ in range(MAX_STEPS):
            if page.url.startswith(self.stop):
                return page.url
            if form := page.form_with("password"):
                if signed_in:
                    raise RuntimeError(f"the password is asked for again: {page}")
                signed_in = True
                page = self.submit(page, form, {"username": user, "password": password})
            elif form := page.form_with("decision"):
                page = self.submit(page, form, {"decision": "approve"})
            else:
                raise RuntimeError(f"there is nothing to press: {page}")
        raise RuntimeError(f"after {MAX_STEPS} pages there is no end: {page}")

    def submit(self, page, form, changes):
        fields = {**form.fields, **changes}
        url = urljoin(page.url, form.action)
        if form.method == "post":
            return self.navigate("POST", url, urlencode(fields), origin_of(page.url))
        return self.navigate("GET", url.split("?")[0] + "?" + urlencode(fields), None, origin_of(page.url))

    def navigate(self, method, url, body=None, initiator=None):
        """Follows redirects by hand; `initiator` is the origin of the page that was left, None for a typed address."""
        origin, site = initiator, "none" if initiator is None else "same-origin"
        for _ in range(MAX_STEPS):
            if initiator is not None:
                site = max(site, relation(initiator, url), key=SITES.index)
            headers = {
                "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
                "Sec-Fetch-Site": site,
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
            }
            if method == "POST":
                headers["Origin"] = origin or "null"
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            page = self.request(method, url, body, headers)
            location = page.headers.get("Location")
            if page.status not in (301, 302, 303, 307, 308) or location is None:
                return page
            target = urljoin(url, location)
            if page.status not in (307, 308):
                method, body = "GET", None
            elif origin_of(target) != origin_of(url):
                origin = None  # a redirect across origins taints the origin (Fetch, section 4.4)
            url = target
        raise RuntimeError(f"redirects do not end: {url}")

    def request(self, method, url, body, headers):
        parts = urlsplit(url)
        jar = self.cookies.setdefault(parts.netloc, {})
        if jar:
            headers = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self.connect(url, parts.hostname, parts.port or 80)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, cookie in SimpleCookie(line).items():
                jar.pop(name, None)
                if cookie["max-age"] != "0":
                    jar[name] = cookie.value
        return Page(url, answer.status, answer.headers, text)

    def connect(self, url, host, port):
        deadline = time.monotonic() + TIMEOUT
        while True:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
            try:
                connection.connect()
                return connection
            except ConnectionRefusedError:
                # fastmcp opens the browser before it listens at its redirect URI; people are slower than this.
                if not url.startswith(self.stop) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


class Page:
    def __init__(self, url, status, headers, text):
        self.url, self.status, self.headers, self.text = url, status, headers, text
        scanner = Scanner()
        scanner.feed(text)
        self.forms = scanner.forms

    def form_with(self, name):
        return next((form for form in self.forms if name in form.fields or name in form.buttons), None)

    def __str__(self):
        return f"{self.status} at {self.url}: {self.text[:2000]}"


class Form:
    def __init__(self, attributes):
        self.action = attributes.get("action") or ""
        self.method = (attributes.get("method") or "get").lower()
        self.fields, self.buttons = {}, set()


class Scanner(HTMLParser):
    """Collects forms: the fields that are sent by themselves, and the names of the buttons."""

    def __init__(self):
        super().__init__()
        self.forms, self.form = [], None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        name = attributes.get("name")
        if tag == "form":
            self.form = Form(attributes)
            self.forms.append(self.form)
        elif self.form is None or not name:
            return
        elif tag == "button" or attributes.get("type") == "submit":
            self.form.buttons.add(name)
        elif tag == "input" and (attributes.get("type") not in ("checkbox", "radio") or "checked" in attributes):
            self.form.fields[name] = attributes.get("value") or ""

    def handle_endtag(self, tag):
        if tag == "form":
            self.form = None


def origin_of(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def relation(initiator, url):
    """The value of `Sec-Fetch-Site`; `a.localhost` and `b.localhost` are two sites, as in Chromium."""
    if initiator == origin_of(url):
        return "same-origin"
    one, other = urlsplit(initiator), urlsplit(url)
    same = (one.scheme, site_of(one.hostname)) == (other.scheme, site_of(other.hostname))
    return "same-site" if same else "cross-site"


def site_of(host):
    labels = host.split(".")
    return host if labels[-1].isdigit() else ".".join(labels[-2:])
