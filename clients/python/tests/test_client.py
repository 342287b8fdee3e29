"""The client against a broker that misbehaves."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import tempfile
import time
import traceback
import unittest
from pathlib import Path
from unittest import mock

from broker import KEY, TOKEN, Broker, date, granted, http, unconnected
from portcullis_client import (
    AuthClient,
    AuthorizationRequired,
    BrokerUnreachable,
    ConfigurationError,
    Email,
    KeyRefused,
    NotAllowed,
    PortcullisError,
    ProviderTrouble,
    RateLimited,
    RequestRefused,
    ServiceUnknown,
    SyncAuthClient,
    UnexpectedAnswer,
)
from portcullis_client._cache import Clocks, Keeping
from portcullis_client._client import Limits


class Time:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.steady, self.wall = 1000.0, time.time()

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.steady, lambda: self.wall)

    def move(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


class Requests(unittest.IsolatedAsyncioTestCase):
    async def test_a_token_is_asked_for_as_the_interface_says(self) -> None:
        async with Broker(granted(scope="a b")) as broker, broker.client() as client:
            token = await client.token("google", "alice", scope=["b", "a"])
        asked = broker.asked[0]
        self.assertEqual((asked.method, asked.path), ("POST", "/auth/token"))
        self.assertEqual(asked.body, {"service": "google", "user_id": "alice", "scope": "a b"})
        self.assertEqual(asked.headers["authorization"], f"Bearer {KEY}")
        self.assertEqual((token.access_token, token.scope, token.source), (TOKEN, "a b", "oauth"))
        self.assertEqual(token.headers, {"Authorization": f"Bearer {TOKEN}"})

    async def test_a_person_may_be_named_by_address(self) -> None:
        async with Broker(granted()) as broker, broker.client() as client:
            for person in [Email("alice@corp.com"), "alice@corp.com"]:
                await client.token("google", person)
        bodies = [asked.body for asked in broker.asked]
        self.assertEqual(bodies[0], {"service": "google", "user_email": "alice@corp.com"})
        self.assertEqual(bodies[1], {"service": "google", "user_id": "alice@corp.com"})

    async def test_a_link_ends_and_an_account_page_does_not(self) -> None:
        link = {"auth_url": "https://gw.example/auth/google?link=1", "expires_in": 600}
        async with Broker(http(200, link)) as broker, broker.client() as client:
            self.assertEqual(await client.auth_url("google", "alice", scope="a"), (link["auth_url"], 600))
        async with Broker(http(200, {"auth_url": "https://gw.example/account"})) as broker, broker.client() as client:
            self.assertEqual(await client.auth_url("notes", "alice"), ("https://gw.example/account", None))

    async def test_links_and_ends_are_asked_for_as_the_interface_says(self) -> None:
        link = {"auth_url": "https://gw.example/auth/google?link=1", "expires_in": 600}
        async with Broker(http(200, link), http(204, b"")) as broker, broker.client() as client:
            await client.auth_url("google", "alice", scope="a")
            await client.disconnect("google", "alice")
        first, second = broker.asked
        self.assertEqual((first.method, first.path), ("POST", "/auth/init"))
        self.assertEqual(first.body, {"service": "google", "user_id": "alice", "scope": "a"})
        self.assertEqual((second.method, second.path), ("DELETE", "/auth/revoke"))
        self.assertEqual(second.body, {"service": "google", "user_id": "alice"})

    async def test_every_refusal_has_its_error_and_says_the_fix(self) -> None:
        cases: list[tuple[bytes, type[PortcullisError], str]] = [
            (unconnected(), AuthorizationRequired, "https://gw.example/auth/google?link=1"),
            (http(401, {"error": "invalid_client"}), KeyRefused, "portcullis apikey create"),
            (http(401, b"<html>"), KeyRefused, "PORTCULLIS_API_KEY"),
            (http(403, {"error": "access_denied", "error_description": "why"}), NotAllowed, "(why)"),
            (http(403, {"error": "access_denied"}), NotAllowed, "--service google --user alice"),
            (http(404, {"error": "unknown_service"}), ServiceUnknown, "[[service]]"),
            (http(400, {"error": "invalid_request", "error_description": "no scope"}), RequestRefused, "no scope"),
            (http(429, {}, Retry_After=7), RateLimited, "7 seconds"),
            (http(502, {}, Retry_After=30), ProviderTrouble, "30 seconds"),
            (http(504, {}, Retry_After=date(3600)), ProviderTrouble, "seconds"),
            (http(301, b"", Location="https://elsewhere.example/"), UnexpectedAnswer, "PORTCULLIS_URL"),
            (http(500, b"oops"), UnexpectedAnswer, "500"),
            (http(500, {"error": "server_error"}), ProviderTrouble, "a minute"),
            (http(200, b"<html>hello</html>"), UnexpectedAnswer, "PORTCULLIS_URL"),
        ]
        for answer, kind, told in cases:
            with self.subTest(answer=answer):
                async with Broker(answer) as broker, broker.client() as client:
                    with self.assertRaises(PortcullisError) as raised:
                        await client.token("google", "alice")
                self.assertIs(type(raised.exception), kind)
                self.assertIn(told, str(raised.exception))
                self.assertEqual(len(broker.asked), 1)

    async def test_nonsense_is_no_token(self) -> None:
        for content in [
            [],
            {"access_token": ""},
            {"access_token": 5},
            {"access_token": "two\r\nlines"},
            {"access_token": TOKEN, "expires_at": "soon"},
            {"access_token": TOKEN, "expires_at": 10**400},
            {"access_token": TOKEN, "expires_at": True},
            {"access_token": TOKEN, "token_type": "Bearer\n"},
        ]:
            with self.subTest(content=content):
                async with Broker(http(200, content)) as broker, broker.client() as client:
                    with self.assertRaises(UnexpectedAnswer) as raised:
                        await client.token("google", "alice")
                self.assertNotIn(TOKEN, str(raised.exception))

    async def test_a_link_that_is_no_web_address_is_not_shown(self) -> None:
        for link in ["javascript:alert(1)", "file:///etc/passwd", "https://", "https://gw.example/\n", "http://[::1"]:
            async with Broker(unconnected(link)) as broker, broker.client() as client:
                with self.assertRaises(KeyRefused):
                    await client.token("google", "alice")

    async def test_a_body_without_end_is_not_read_to_its_end(self) -> None:
        huge = http(200, b"[" * (1 << 20), Content_Length=1 << 40)
        async with Broker(huge) as broker, broker.client() as client:
            with self.assertRaises(UnexpectedAnswer):
                await client.token("google", "alice")

    async def test_a_redirect_gets_no_key(self) -> None:
        async with Broker(granted()) as thief, Broker(http(307, b"", Location=f"{thief.url}/auth/token")) as broker:
            async with broker.client() as client:
                with self.assertRaises(UnexpectedAnswer):
                    await client.token("google", "alice")
            self.assertEqual(thief.asked, [])


class Repetition(unittest.IsolatedAsyncioTestCase):
    async def test_short_trouble_is_waited_out(self) -> None:
        trouble = http(503, {}, Retry_After=0)
        async with Broker(trouble, None, granted()) as broker, broker.client() as client:
            self.assertEqual((await client.token("google", "alice")).access_token, TOKEN)
        self.assertEqual(len(broker.asked), 3)

    async def test_trouble_that_stays_ends(self) -> None:
        async with Broker(http(502, {}, Retry_After=0)) as broker, broker.client() as client:
            with self.assertRaises(ProviderTrouble) as raised:
                await client.token("google", "alice")
        self.assertEqual((raised.exception.retry_after, len(broker.asked)), (0, 3))

    async def test_what_may_not_be_repeated_is_not(self) -> None:
        for answer in [http(502, {}, Retry_After=6), http(429, {}, Retry_After=0), http(500, {}), unconnected()]:
            async with Broker(answer) as broker, broker.client() as client:
                with self.assertRaises(PortcullisError):
                    await client.token("google", "alice")
            self.assertEqual(len(broker.asked), 1, answer)

    async def test_nobody_there_and_nobody_answering(self) -> None:
        async with Broker(granted()) as broker:
            gone = broker.url
        with self.assertRaises(BrokerUnreachable) as raised:
            await AuthClient(gone, KEY, pats={}).token("google", "alice")
        self.assertIn("PORTCULLIS_URL", str(raised.exception))

        async def slow(_: object) -> bytes:
            await asyncio.Event().wait()
            return b""

        async with Broker(slow) as broker, broker.client(limits=Limits(answer=0.05)) as client:
            with self.assertRaises(BrokerUnreachable):
                await client.token("google", "alice")
        self.assertEqual(len(broker.asked), 1, "a time-out is not repeated: the person waits")


class Kept(unittest.IsolatedAsyncioTestCase):
    async def test_until_a_minute_before_expiry_by_either_clock(self) -> None:
        for move in ["both", "steady", "wall"]:
            now = Time()
            async with Broker(granted(600)) as broker, broker.client(clocks=now.clocks()) as client:
                await client.token("google", "alice")
                now.move(535)
                await client.token("google", "alice")
                self.assertEqual(len(broker.asked), 1)
                now.steady += 10 if move != "wall" else 0
                now.wall += 10 if move != "steady" else 0
                await client.token("google", "alice")
                self.assertEqual(len(broker.asked), 2, move)

    async def test_our_clock_may_be_wrong(self) -> None:
        # The broker lives an hour ahead: what looks good for an hour and ten minutes is good for ten.
        content = {"access_token": TOKEN, "expires_at": time.time() + 4200}
        for answer in [http(200, content, Date=date(3600)), http(200, {**content, "expires_in": 600})]:
            now = Time()
            async with Broker(answer) as broker, broker.client(clocks=now.clocks()) as client:
                await client.token("google", "alice")
                now.move(545)
                await client.token("google", "alice")
            self.assertEqual(len(broker.asked), 2)

    async def test_what_is_not_kept(self) -> None:
        short, past = granted(50), granted(-5)
        for answer in [short, past]:
            async with Broker(answer) as broker, broker.client() as client:
                for _ in range(2):
                    await client.token("google", "alice")
            self.assertEqual(len(broker.asked), 2)

    async def test_a_token_without_expiry_is_kept_for_five_minutes(self) -> None:
        now = Time()
        async with Broker(granted(None, source="pat")) as broker, broker.client(clocks=now.clocks()) as client:
            self.assertEqual((await client.token("google", "alice")).source, "pat")
            now.move(299)
            await client.token("google", "alice")
            self.assertEqual(len(broker.asked), 1)
            now.move(2)
            await client.token("google", "alice")
        self.assertEqual(len(broker.asked), 2)

    async def test_by_service_person_and_scope(self) -> None:
        async with Broker(granted()) as broker, broker.client() as client:
            await client.token("google", "alice", scope="a b")
            await client.token("google", "alice", scope=("b", "a", "a"))
            self.assertEqual(len(broker.asked), 1)
            await client.token("google", "alice", scope="a")
            await client.token("google", "bob", scope="a b")
            await client.token("github", "alice", scope="a b")
        self.assertEqual(len(broker.asked), 4)

    async def test_no_more_than_so_many(self) -> None:
        async with Broker(granted()) as broker, broker.client(keeping=Keeping(capacity=2)) as client:
            for user in ["a", "b", "a", "c", "a"]:
                await client.token("google", user)
            self.assertEqual([asked.body["user_id"] for asked in broker.asked], ["a", "b", "c"])
            self.assertEqual(len(client._cache), 2)

    async def test_a_refused_token_is_forgotten_and_its_successor_is_not(self) -> None:
        async with Broker(granted(), granted(access_token="second")) as broker, broker.client() as client:
            first = await client.token("google", "alice")
            client.invalidate(first)
            second = await client.token("google", "alice")
            client.invalidate(first)
            self.assertIs(await client.token("google", "alice"), second)
        self.assertEqual((second.access_token, len(broker.asked)), ("second", 2))

    async def test_that_there_is_none_is_not_kept(self) -> None:
        async with Broker(unconnected(), granted()) as broker, broker.client() as client:
            with self.assertRaises(AuthorizationRequired):
                await client.token("google", "alice")
            await client.token("google", "alice")

    async def test_a_disconnected_token_is_forgotten_even_when_on_its_way(self) -> None:
        go = asyncio.Event()

        async def late(_: object) -> bytes:
            await go.wait()
            return granted()

        async with Broker(late, http(204, b""), granted()) as broker, broker.client() as client:
            waiting = asyncio.create_task(client.token("google", "alice"))
            await broker.busy.wait()
            await client.disconnect("google", "alice")
            go.set()
            await waiting
            await client.token("google", "alice")
        self.assertEqual([asked.path for asked in broker.asked], ["/auth/token", "/auth/revoke", "/auth/token"])


class OneFlight(unittest.IsolatedAsyncioTestCase):
    async def test_a_hundred_calls_make_one_request(self) -> None:
        async with Broker(granted()) as broker, broker.client() as client:
            tokens = await asyncio.gather(*(client.token("google", "alice") for _ in range(100)))
        self.assertEqual((len(broker.asked), len(set(map(id, tokens)))), (1, 1))

    async def test_who_gives_up_ends_nothing_for_the_others(self) -> None:
        go = asyncio.Event()

        async def late(_: object) -> bytes:
            await go.wait()
            return granted()

        async with Broker(late) as broker, broker.client() as client:
            first, second = (asyncio.create_task(client.token("google", "alice")) for _ in range(2))
            await broker.busy.wait()
            first.cancel()
            go.set()
            self.assertEqual((await second).access_token, TOKEN)
            with self.assertRaises(asyncio.CancelledError):
                await first
        self.assertEqual(len(broker.asked), 1)

    async def test_a_failure_is_everybodys_and_nobodys_afterwards(self) -> None:
        async with Broker(unconnected(), granted()) as broker, broker.client() as client:
            answers = await asyncio.gather(*(client.token("google", "alice") for _ in range(9)), return_exceptions=True)
            self.assertEqual({type(answer) for answer in answers}, {AuthorizationRequired})
            await client.token("google", "alice")
        self.assertEqual(len(broker.asked), 2)


class PersonalTokens(unittest.IsolatedAsyncioTestCase):
    async def test_when_there_is_no_connection_or_no_broker(self) -> None:
        async with Broker(unconnected(), granted()) as broker, broker.client(pats={"google": "own"}) as client:
            with self.assertLogs("portcullis_client", logging.WARNING) as logs:
                token = await client.token("google", "alice")
            self.assertEqual((token.access_token, token.source), ("own", "environment"))
            self.assertNotIn("own", "".join(logs.output).split(": ", 1)[1].split())
            self.assertEqual((await client.token("google", "alice")).source, "oauth", "a connection goes first")
        with mock.patch.dict(os.environ, {"PORTCULLIS_PAT_MY_GITHUB": "own"}):
            client = AuthClient(broker.url, KEY)
            self.assertEqual((await client.token("my-github", "alice")).source, "environment")

    async def test_not_when_it_is_forbidden(self) -> None:
        for status in [401, 403, 404, 429]:
            async with Broker(http(status, {})) as broker, broker.client(pats={"google": "own"}) as client:
                with self.assertRaises(PortcullisError):
                    await client.token("google", "alice")


class Secrets(unittest.IsolatedAsyncioTestCase):
    async def test_they_show_themselves_nowhere(self) -> None:
        logging.getLogger().setLevel(logging.DEBUG)
        with self.assertLogs(level=logging.DEBUG) as logs:
            async with Broker(granted(), http(500, {"access_token": TOKEN})) as broker, broker.client() as client:
                token = await client.token("google", "alice")
                try:
                    await client.token("google", "bob")
                except UnexpectedAnswer as error:
                    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
                    shown = "".join(captured.format())
        places = [repr(token), str(token), f"{token}", repr(client), repr(vars(client)), shown, *logs.output]
        for place in places:
            self.assertNotIn(TOKEN, place)
            self.assertNotIn(KEY, place)
        with self.assertRaises(TypeError):
            pickle.dumps(token)
        self.assertFalse(hasattr(token, "__dict__"))


class Environment(unittest.TestCase):
    def test_from_the_environment_and_from_a_file(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "key"
            file.write_text(f"{KEY}\n")
            for key in [{"PORTCULLIS_API_KEY": KEY}, {"PORTCULLIS_API_KEY_FILE": str(file)}]:
                with mock.patch.dict(os.environ, {"PORTCULLIS_URL": "https://gw.example/", **key}):
                    self.assertEqual(repr(AuthClient()), "AuthClient('https://gw.example')")

    def test_what_is_wrong_is_said_without_the_key(self) -> None:
        url, key = {"PORTCULLIS_URL": "https://gw.example"}, {"PORTCULLIS_API_KEY": KEY}
        cases = [
            ({}, "PORTCULLIS_URL"),
            (url, "PORTCULLIS_API_KEY"),
            ({**url, "PORTCULLIS_API_KEY": "sesame"}, "id.secret"),
            ({**url, "PORTCULLIS_API_KEY": "se\nsa.me"}, "id.secret"),
            ({**url, **key, "PORTCULLIS_API_KEY_FILE": "/etc/key"}, "both"),
            ({**url, "PORTCULLIS_API_KEY_FILE": "/nowhere/key"}, "/nowhere/key"),
            ({**key, "PORTCULLIS_URL": "gw.example"}, "https://"),
            ({**key, "PORTCULLIS_URL": "https://me:pw@gw.example"}, "https://"),
            ({**key, "PORTCULLIS_URL": "http://gw.example"}, "allow_http"),
        ]
        for environment, told in cases:
            with self.subTest(told), mock.patch.dict(os.environ, environment, clear=True):
                with self.assertRaises(ConfigurationError) as raised:
                    AuthClient()
                self.assertIn(told, str(raised.exception))
                self.assertNotIn("sesame", str(raised.exception))
        for url_ in ["http://localhost:8080", "http://gw.localhost", "http://127.0.0.1:1", "http://[::1]:80"]:
            AuthClient(url_, KEY)
        AuthClient("http://gw.example", KEY, allow_http=True)


class WithoutALoop(unittest.IsolatedAsyncioTestCase):
    async def test_the_same_client_for_threads(self) -> None:
        async with Broker(granted(), unconnected()) as broker:

            def ask() -> list[str]:
                with SyncAuthClient(broker.url, KEY, pats={}) as client:
                    tokens = [client.token("google", "alice") for _ in range(3)]
                    client.invalidate(tokens[0])
                    with self.assertRaises(AuthorizationRequired):
                        client.token("google", "alice")
                    return [token.access_token for token in tokens]

            self.assertEqual(await asyncio.to_thread(ask), [TOKEN] * 3)
        self.assertEqual(len(broker.asked), 2)


if __name__ == "__main__":
    unittest.main()
