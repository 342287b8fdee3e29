"""Authlib as a client of our authorization server: device flow, refresh, revocation, code flow.

Usage: authlib_client.py ISSUER RESOURCE. The person at a browser is played by the test that started this program: it gets a
line with an address to open and where to stop, and answers with the address at which it arrived.
"""

import json
import os
import sys

import localhost  # noqa: F401  (the import is the effect)

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
REDIRECT = "https://app.example/callback"


def person(address, stop=""):
    print(json.dumps({"open": address, "stop": stop}), flush=True)
    return sys.stdin.readline().strip()


def main(issuer, resource):
    server = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=10).json()

    def register(**metadata):
        answer = requests.post(server["registration_endpoint"], json=metadata, timeout=10)
        answer.raise_for_status()
        return answer.json()

    television = register(
        client_name="Authlib on a television",
        grant_types=[DEVICE, "refresh_token"],
        token_endpoint_auth_method="none",
    )
    device = OAuth2Session(television["client_id"], token_endpoint_auth_method="none")
    request = {"client_id": television["client_id"], "resource": resource}
    asked = requests.post(server["device_authorization_endpoint"], data=request, timeout=10).json()

    def poll():
        return device.fetch_token(server["token_endpoint"], grant_type=DEVICE, device_code=asked["device_code"])

    refusals = []
    for _ in range(2):
        try:
            poll()
        except OAuthError as error:
            refusals.append(error.error)
    person(asked["verification_uri_complete"])
    poll()
    first = device.token["access_token"]
    device.refresh_token(server["token_endpoint"], refresh_token=device.token["refresh_token"])
    refreshed = dict(device.token)
    revoked = device.revoke_token(server["revocation_endpoint"], token=refreshed["refresh_token"])

    web = register(client_name="Authlib on the web", redirect_uris=[REDIRECT])
    session = OAuth2Session(
        web["client_id"], web["client_secret"], redirect_uri=REDIRECT, code_challenge_method="S256"
    )
    verifier = generate_token(48)
    address, _ = session.create_authorization_url(
        server["authorization_endpoint"], code_verifier=verifier, resource=resource
    )
    back = person(address, REDIRECT)
    code = session.fetch_token(
        server["token_endpoint"], authorization_response=back, code_verifier=verifier, resource=resource
    )
    answer = {
        "refusals": refusals,
        "first": first,
        "device": refreshed["access_token"],
        "revoked": revoked.status_code,
        "code": code["access_token"],
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
