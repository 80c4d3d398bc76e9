"""Says why a camera's stream can't be opened. OpenCV only says that it can't, so the camera is asked once more."""

import base64
import hashlib
import re
import secrets
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from countline.telemetry import mask

TIMEOUT_S = 3.0
# Of an answer, its first lines are enough; of one that comes byte by byte, or never ends, so many pieces.
_MAX_READS = 4
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}
_STATUS = re.compile(rb"(?:RTSP|HTTP)/\d\.\d (\d{3}) ?([^\r\n]*)")
_CHALLENGE = re.compile(r"(?im)^WWW-Authenticate:\s*(Basic|Digest)\b(.*)$")
_PARAMETER = re.compile(r'(\w+)="?([^",]*)"?')


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a camera can't be opened.

    Attributes:
        text: For people, without a login.
        is_refused: It wants another user or password. Asking often locks the account of many cameras.
    """

    text: str
    is_refused: bool = False


def why_not(source: str, timeout_s: float = TIMEOUT_S) -> Reason:
    """Ask a camera at an address once, by hand, and say what is wrong.

    Args:
        source: Its address.
        timeout_s: For each step: find, connect, answer.
    """
    label = mask(source)
    try:
        url = urlsplit(source)
        port = url.port or _PORTS.get(url.scheme.lower(), 0)
        host = url.hostname or ""
    except ValueError:
        return Reason(f"{label} is no address")
    if url.scheme.lower() == "udp" or not host or not port:
        return Reason(f"{label} sends nothing")
    try:
        return _connect(label, url, host, port, timeout_s)
    except OSError as error:
        return Reason(f"{label} does not answer: {_network_trouble(error, host, port)}")


def _network_trouble(error: OSError, host: str, port: int) -> str:
    match error:
        case socket.gaierror():
            return f"the name {host} is not known on this network"
        case ConnectionRefusedError():
            return f"{host} refuses port {port}; is it the right one?"
        case ssl.SSLError():
            return f"{host} speaks no TLS on port {port}"
        case _:
            return f"is {host} on, and on this network?"


def _connect(label: str, url: SplitResult, host: str, port: int, timeout_s: float) -> Reason:
    scheme = url.scheme.lower()
    with socket.create_connection((host, port), timeout=timeout_s) as plain:
        if scheme not in {"rtsp", "rtsps", "http", "https"}:
            return Reason(f"{label} answers, but its stream can't be opened")
        with _encrypted(plain, host) if scheme.endswith("s") else plain as line:
            return _judge(label, url, *_ask(line, url, f"{host}:{port}"))


def _encrypted(line: socket.socket, host: str) -> socket.socket:
    # Cameras sign their own certificates, and FFmpeg does not check them either.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(line, server_hostname=host)


def _ask(line: socket.socket, url: SplitResult, authority: str) -> tuple[int, str]:
    """Return the status of the camera's answer and its words; 0 if it is no answer."""
    is_rtsp = url.scheme.lower().startswith("rtsp")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    method, target = ("DESCRIBE", f"rtsp://{authority}{target}") if is_rtsp else ("GET", target)
    login = unquote(url.username or ""), unquote(url.password or "")
    # Over HTTP there is one question for each connection, so the login goes with the first one.
    proof = "" if is_rtsp or not url.username else _proof("basic", {}, login, method, target)
    status, words, head = _request(line, method, target, authority, proof)
    challenge = _CHALLENGE.search(head)
    if status != 401 or not url.username or challenge is None or not is_rtsp:
        return status, words
    proof = _proof(challenge[1].lower(), dict(_PARAMETER.findall(challenge[2])), login, method, target)
    status, words, _ = _request(line, method, target, authority, proof)
    return status, words


def _request(
    line: socket.socket, method: str, target: str, authority: str, proof: str
) -> tuple[int, str, str]:
    is_rtsp = method == "DESCRIBE"
    lines = [f"{method} {target} {'RTSP/1.0' if is_rtsp else 'HTTP/1.0'}"]
    lines += [f"CSeq: {2 if proof else 1}", "Accept: application/sdp"] if is_rtsp else [f"Host: {authority}"]
    lines += [f"Authorization: {proof}"] if proof else []
    line.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    for _ in range(_MAX_READS):
        try:
            more = line.recv(2_048)
        except TimeoutError:
            if not answer:
                raise
            more = b""
        answer += more
        if not more or b"\r\n\r\n" in answer:
            break
    found = _STATUS.match(answer)
    if found is None:
        return 0, "", ""
    return int(found[1]), found[2].decode("ascii", "replace")[:60], answer.decode("latin-1")


def _proof(kind: str, given: dict[str, str], login: tuple[str, str], method: str, target: str) -> str:
    """Return an answer to a challenge, RFC 2617."""
    user, password = login
    if kind == "basic":
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    realm, nonce = given.get("realm", ""), given.get("nonce", "")
    who, what = _md5(f"{user}:{realm}:{password}"), _md5(f"{method}:{target}")
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    if "auth" in given.get("qop", "").split():
        own = secrets.token_hex(8)
        fields |= {"response": _md5(f"{who}:{nonce}:00000001:{own}:auth:{what}"), "cnonce": own}
        tail = ", qop=auth, nc=00000001"
    else:
        fields["response"] = _md5(f"{who}:{nonce}:{what}")
        tail = ""
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items()) + tail


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _judge(label: str, url: SplitResult, status: int, words: str) -> Reason:
    protocol = "RTSP" if url.scheme.lower().startswith("rtsp") else "HTTP"
    if status == 0:
        return Reason(f"{label} does not answer: what is on this port speaks no {protocol}")
    if status in {401, 403} and not url.username:
        return Reason(
            f"{label} needs a user and a password ({status}): put them into the address, {url.scheme}://USER:PASSWORD@HOST/PATH",
            is_refused=True,
        )
    if status in {401, 403}:
        return Reason(f"{label} refuses the user or the password ({status})", is_refused=True)
    if status == 404:
        return Reason(f"{label} has no stream at this path (404)")
    if status >= 400:
        return Reason(f"{label} answers with an error: {status} {words}".rstrip())
    return Reason(
        f"{label} answers, but its stream can't be opened; if it is sent by UDP, try transport: tcp"
    )
