"""Whether `portcullis check` takes the configurations on a page."""

import base64
import os
import pathlib
import re
import subprocess
import tempfile
import tomllib

from pages import Code, Page

SECTIONS = {
    "audit", "limits", "login", "provider", "registration", "server", "service", "stdio", "store", "streams", "telemetry", "tls",
    "tokens", "unified", "upstream", "upstreams", "vault",
}  # fmt: skip
# A part of a configuration may need another part, which is given as the environment would give it.
KEY = {"PORTCULLIS__VAULT__KEY": base64.b64encode(bytes(32)).decode()}
COMPLETIONS: list[dict[str, str]] = [
    {},
    {"PORTCULLIS__STORE__URL": "postgres://user@127.0.0.1/portcullis", **KEY},
    {"PORTCULLIS__LOGIN__GITHUB__CLIENT_ID": "x", "PORTCULLIS__LOGIN__GITHUB__CLIENT_SECRET": "x", "PORTCULLIS__LOGIN__GITHUB__ALLOWED_USERS": "*"},
    {"PORTCULLIS__SERVER__DOMAIN": "gw.example", "PORTCULLIS__TLS__MODE": "off"},
    {"PORTCULLIS__SERVER__DOMAIN": "gw.example"},
    {"PORTCULLIS__SERVER__DOMAIN": "gw.example", "PORTCULLIS__TLS__MODE": "acme"},
]
RELATIVE = re.compile(r'_file\s*=\s*"([^"/][^"]*)"')
PATH = re.compile(r'"(/(?:etc|srv|opt|usr|run|var)/[^"]+)"')


def check_page(page: Page, binary: pathlib.Path) -> list[str]:
    return [f"{code.where}: {error}" for code in page.code if code.words and code.words[0] == "toml" for error in errors(code, binary)]


def errors(code: Code, binary: pathlib.Path) -> list[str]:
    try:
        document = tomllib.loads(code.text)
    except tomllib.TOMLDecodeError as error:
        return [f"is no TOML: {error}"]
    if not SECTIONS & document.keys():
        return []
    with tempfile.TemporaryDirectory() as directory:
        first: list[str] = []
        for completion in (_beside(document, completion) for completion in COMPLETIONS):
            found = _errors(code.text, document, pathlib.Path(directory), binary, completion)
            if not found:
                return []
            first = first or found
        return first


def _beside(document: dict, completion: dict[str, str]) -> dict[str, str]:
    """A completion without what the page says itself."""

    def says(variable: str) -> bool:
        node = document
        for key in variable.lower().split("__")[1:]:
            if not isinstance(node, dict) or key not in node:
                return False
            node = node[key]
        return True

    return {variable: value for variable, value in completion.items() if not says(variable)}


def _errors(text: str, document: dict, directory: pathlib.Path, binary: pathlib.Path, completion: dict[str, str]) -> list[str]:
    """Files and programs that it names are there: what is on the reader's machine is nothing that a page can have wrong."""

    def place(match: re.Match[str]) -> str:
        path = directory / match[1].lstrip("/")
        _make(path)
        return f'"{path}"'

    for upstream in document.get("upstream", []):
        command = upstream.get("command")
        if command:
            program = command if isinstance(command, str) else command[0]
            if "/" not in program:
                _make(directory / "bin" / program)
    for name in RELATIVE.findall(text):
        _make(directory / name)
    file = directory / "portcullis.toml"
    file.write_text(PATH.sub(place, text), encoding="utf-8")
    environment = {"PATH": f"{directory}/bin", "HOME": str(directory), "XDG_STATE_HOME": str(directory), **completion}
    done = subprocess.run([binary, "check", "-c", file], capture_output=True, text=True, check=False, env=environment, timeout=30)
    if done.returncode == 0:
        return []
    lines = (done.stderr or done.stdout).strip().splitlines()
    return [line.replace(f"{file}:", "line ").replace(str(directory), "") for line in lines] or [f"exit status {done.returncode}"]


def _make(path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    # Good as a vault key, as any other secret, and as a program.
    path.write_text(base64.b64encode(bytes(32)).decode() + "\n", encoding="utf-8")
    os.chmod(path, 0o700)
