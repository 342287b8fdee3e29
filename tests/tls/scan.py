"""Looks at the TLS of a gateway with testssl.sh and sslyze, and fails when either finds something that is worse than information.

Usage: scan.py PORTCULLIS SSLYZE-PYTHON

The certificate is of an authority made for this run, so what both say about trust in that authority, and about where it publishes
revocations, is left out; everything else counts.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOMAIN = "gw.test"
# About the authority, which is nobody's.
OF_AUTHORITY = {"cert_chain_of_trust", "cert_ocspURL", "cert_crlDistributionPoints", "cert_revocation", "DNS_CAArecord", "cert_caIssuers"}
# A test that could not be made says nothing; sslyze makes it too.
UNTESTED = {"OK", "INFO", "DEBUG", "WARN"}


def main() -> int:
    program, python = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_certificates(directory)
        port = free_port()
        with gateway(program, directory, port):
            findings = testssl(directory, port) + sslyze(python, directory, port)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings above info")
    return 1 if findings else 0


def make_certificates(directory: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "90", "-subj", "/CN=scan", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key, "-subj", f"/CN={DOMAIN}", "-keyout", "key.pem", "-out", "request.pem")
    (directory / "extensions").write_text(
        f"subjectAltName=DNS:{DOMAIN},DNS:*.{DOMAIN}\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\n"
        "basicConstraints=CA:FALSE\n"
    )
    openssl(
        *"x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -out leaf.pem".split(),
        "-extfile", "extensions",
    )
    (directory / "chain.pem").write_text((directory / "leaf.pem").read_text() + (directory / "ca.pem").read_text())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class gateway:
    """The program with such a certificate, on this port."""

    def __init__(self, program: str, directory: Path, port: int) -> None:
        settings = {
            "SERVER__DOMAIN": DOMAIN,
            "SERVER__LISTEN": f"127.0.0.1:{port}",
            "SERVER__ADMIN_LISTEN": "",
            "TLS__MODE": "files",
            "TLS__CERT": str(directory / "chain.pem"),
            "TLS__KEY": str(directory / "key.pem"),
            "STORE__URL": f"sqlite://{directory}/portcullis.db",
            "LIMITS__PER_IP": "100000/s",
        }
        environment = {"PATH": os.environ["PATH"]} | {f"PORTCULLIS__{name}": value for name, value in settings.items()}
        self.process = subprocess.Popen([program, "serve"], env=environment, stdout=subprocess.DEVNULL)
        self.port = port

    def __enter__(self) -> None:
        until = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", self.port)) != 0:
            if time.monotonic() > until:
                raise TimeoutError("the gateway does not listen")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def testssl(directory: Path, port: int) -> list[str]:
    report = directory / "testssl.json"
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--add-ca", str(directory / "ca.pem")]
    command += ["--jsonfile", str(report), f"{DOMAIN}:{port}"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=1200)
    entries = json.loads(report.read_text())
    if len(entries) < 50:
        raise RuntimeError(f"testssl.sh has looked at almost nothing: {entries}")
    print(f"testssl.sh: {len(entries)} results")
    for entry in entries:
        if entry["severity"] == "WARN":
            print(f"testssl.sh: not tested: {entry['id']}: {entry['finding']}")
    counts = [
        entry
        for entry in entries
        if entry["severity"] not in UNTESTED
        and entry["id"].split(" ")[0] not in OF_AUTHORITY
    ]
    return [f"testssl.sh: {entry['severity']} {entry['id']}: {entry['finding']}" for entry in counts]


def sslyze(python: str, directory: Path, port: int) -> list[str]:
    report = directory / "sslyze.json"
    command = [python, "-m", "sslyze", "--sni", DOMAIN, "--certinfo_ca_file", str(directory / "ca.pem")]
    command += "--certinfo --sslv2 --sslv3 --tlsv1 --tlsv1_1 --tlsv1_2 --tlsv1_3 --compression --reneg --robot".split()
    command += "--heartbleed --openssl_ccs --early_data --elliptic_curves --resum --fallback --ems".split()
    command += ["--mozilla_config", "disable", "--json_out", str(report), f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if not report.exists():
        raise RuntimeError(f"sslyze: {done.stdout}{done.stderr}")
    [scan] = json.loads(report.read_text())["server_scan_results"]
    result = scan["scan_result"]
    if result is None:
        raise RuntimeError(f"sslyze: {scan['connectivity_error_trace']}")
    found = []

    def expect(what: str, good: bool) -> None:
        if not good:
            found.append(f"sslyze: {what}")

    for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        expect(f"{version} is accepted", not result[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"])
    suites = [
        suite["cipher_suite"]["name"]
        for version in ("tls_1_2", "tls_1_3")
        for suite in result[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"]
    ]
    expect("no cipher suite of TLS 1.2 and 1.3", len(suites) >= 6)
    for suite in suites:
        strong = ("ECDHE" in suite or "TLS_AES" in suite or "TLS_CHACHA" in suite) and ("GCM" in suite or "CHACHA" in suite)
        expect(f"weak cipher suite {suite}", strong)
    expect("Heartbleed", not result["heartbleed"]["result"]["is_vulnerable_to_heartbleed"])
    expect("CCS injection", not result["openssl_ccs_injection"]["result"]["is_vulnerable_to_ccs_injection"])
    expect("ROBOT", result["robot"]["result"]["robot_result"].startswith("NOT_VULNERABLE"))
    expect("compression", not result["tls_compression"]["result"]["supports_compression"])
    renegotiation = result["session_renegotiation"]["result"]
    expect("renegotiation by clients", not renegotiation["is_vulnerable_to_client_renegotiation_dos"])
    expect("no secure renegotiation", renegotiation["supports_secure_renegotiation"])
    expect("early data", not result["tls_1_3_early_data"]["result"]["supports_early_data"])
    curves = result["elliptic_curves"]["result"]["supported_curves"] or []
    expect("no good curve", any(curve["name"] == "X25519" for curve in curves))
    [deployment] = result["certificate_info"]["result"]["certificate_deployments"]
    own = [path for path in deployment["path_validation_results"] if path["trust_store"]["path"] == str(directory / "ca.pem")]
    expect("the chain does not lead to its authority", any(path["verified_certificate_chain"] for path in own))
    expect("the chain is out of order", deployment["received_chain_has_valid_order"])
    errors = [name for name, test in result.items() if test and test.get("status") == "ERROR"]
    expect(f"failed tests: {errors}", not errors)
    print(f"sslyze: {len(suites)} cipher suites: {', '.join(suites)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
