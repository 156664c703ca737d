"""Carrier samples (their fields: `tests/fixtures/carriers/FIELDS.md`) and their accounts in a configuration."""

import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from router import registry
from router.ports import Options, Secret
from tests.tables import types_in

#: Keeps a secret where the configuration can name it, and returns how it does.
Keep = Callable[[str], str]


def caller(secret: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """The keys of an account whose carrier shows a password or a fixed header, or nothing."""
    keys: dict[str, Any] = {}
    if basic := secret.get("basic"):
        keys["basic"] = [{"user": basic["username"], "password": keep(basic["password"])}]
    if header := secret.get("header"):
        keys["headers"] = [{"name": header["name"], "value": keep(header["value"])}]
    return keys or {"unauthenticated": True}


def token_or_caller(secret: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """The keys of an account whose carrier shows a token in the query of our address, if not something else."""
    return {"tokens": [keep(secret["token"])]} if secret.get("token") else caller(secret, keep)


def sinch(name: str, secret: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """An account of either API of Sinch's."""
    proof = {"hmac_secrets": [keep(secret["hmac_secret"])]} if secret.get("hmac_secret") else caller(secret, keep)
    return {"carrier": name, **proof, **only(secret, "tolerance")}


def vonage_sms(secret: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """An account of Vonage's SMS API, signing or not."""
    if not secret.get("signature_method"):
        return {"carrier": "vonage_sms", "unauthenticated": True}
    secrets = [keep(secret["signature_secret"])]
    return {
        "carrier": "vonage_sms",
        "signature_secrets": secrets,
        **only(secret, "signature_method", "tolerance"),
    }


def only(secret: dict[str, Any], *names: str) -> dict[str, Any]:
    """Those of the names that a sample speaks of."""
    return {name: secret[name] for name in names if secret.get(name) is not None}


def one_to_one(name: str, secret: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """An account of a carrier that nothing is known of here: a sample's `secret` has its keys by their own names."""
    return {"carrier": name, **written(registry.carrier(name).Options, secret, keep)}


def written(options: type[Options], secret: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """What `secret` has of the keys of an adapter, as the configuration has them."""
    fields = {name: field for name, field in options.model_fields.items() if secret.get(name) is not None}
    return {name: value_of(secret[name], set(types_in(field.annotation)), keep) for name, field in fields.items()}


def value_of(value: Any, types: set[type], keep: Keep) -> Any:
    """The value of a key that these types occur in, with texts kept where they are secrets."""
    if isinstance(value, str):
        return keep(value) if Secret in types else value
    if isinstance(value, list):
        return [value_of(item, types, keep) for item in value]
    if not isinstance(value, dict):
        return value
    table = next((found for found in types if issubclass(found, Options)), None)
    return written(table, value, keep) if table else {name: value_of(item, types, keep) for name, item in value.items()}


#: For each wire format: the keys of an account, made from what its carrier and we know (`secret` of a sample).
ACCOUNTS: dict[str, Callable[[dict[str, Any], Keep], dict[str, Any]]] = {
    "twilio": lambda secret, keep: {
        "carrier": "twilio",
        "auth_tokens": [keep(secret["auth_token"])],
        "shared_keys": {key_id: keep(key) for key_id, key in secret.get("shared_keys", {}).items()},
    },
    "plivo": lambda secret, keep: {
        "carrier": "plivo",
        "auth_tokens": [keep(secret["auth_token"])],
    },
    "telnyx": lambda secret, keep: {
        "carrier": "telnyx",
        "public_keys": [secret["public_key"]],
        **only(secret, "tolerance"),
    },
    "bandwidth": lambda secret, keep: {
        "carrier": "bandwidth",
        "basic": [{"user": secret["username"], "password": keep(secret["password"])}],
    },
    "clickatell": lambda secret, keep: {
        "carrier": "clickatell",
        **({"tokens": [keep(secret["token"])]} if secret.get("token") else caller(secret, keep)),
        **only(secret, "default_to"),
    },
    "standard-webhooks": lambda secret, keep: {
        "carrier": "standard_webhooks",
        "secrets": [keep(key) for key in secret["secrets"]],
        **only(secret, "tolerance"),
    },
    "sinch_sms": partial(sinch, "sinch_sms"),
    "sinch_conversation": partial(sinch, "sinch_conversation"),
    "vonage_sms": vonage_sms,
    "vonage_messages": lambda secret, keep: {
        "carrier": "vonage_messages",
        "signature_secrets": {key: [keep(known)] for key, known in secret["signature_secrets"].items()},
        **only(secret, "tolerance"),
    },
    "whatsapp": lambda secret, keep: {
        "carrier": "whatsapp",
        "app_secrets": [keep(secret["app_secret"])],
        "verify_tokens": [keep(secret["verify_token"])] if secret.get("verify_token") else [],
    },
    "aws-sns": lambda secret, keep: {"carrier": "aws_sns", "topic_arns": secret["topic_arns"]},
    "kannel": lambda secret, keep: {"carrier": "kannel", **token_or_caller(secret, keep)},
    "jasmin": lambda secret, keep: {"carrier": "jasmin", **token_or_caller(secret, keep)},
    "infobip": lambda secret, keep: {"carrier": "infobip", **caller(secret, keep)},
    "bird_channels": lambda secret, keep: {
        "carrier": "bird_channels",
        "signing_keys": [keep(secret["signing_key"])],
        **only(secret, "tolerance"),
    },
    "messagebird_sms": lambda secret, keep: {
        "carrier": "messagebird_sms",
        "signing_keys": [keep(secret["signing_key"])],
        **only(secret, "tolerance"),
    },
}

#: A configuration has a program. None of the samples' numbers is its own, so that texts are kept as unrouted; what is
#: more than a text is told to a destination that nobody works on.
PROGRAM = """
[programs.none]
name = "None"
[programs.none.replies.en]
opt_in = "Welcome."
opt_out = "Goodbye."
help = "Text STOP to leave."
[programs.none.destinations.none]
[destinations.none]
platform = "webhook"
url = "https://events.example.com/"
secrets = ["file:webhook-secret"]
"""
OWN_NUMBER = "+999555000111"
WEBHOOK_SECRET = "whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY="
#: Longer than the clock moves between two samples: their parts must not run out of time.
JOIN_SECONDS = 86_400

_PATH = re.compile(r"/in/(?!api$)([a-z0-9][a-z0-9_-]{0,31})")
#: What HTTP itself needs is said by whoever sends a sample.
_FRAMING = ("content-length", "transfer-encoding", "connection")


@dataclass(frozen=True)
class Sample:
    """One sample. `account` is its own in the configuration of its round: no two of a round have the same path."""

    name: str
    adapter: str
    account: str
    round: int
    content: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        """What is sent."""
        request: dict[str, Any] = self.content["request"]
        return request

    @property
    def expect(self) -> dict[str, Any]:
        """What must come of it."""
        expect: dict[str, Any] = self.content["expect"]
        return expect

    @property
    def body(self) -> bytes:
        """The bytes of its body."""
        if "body_b64" in self.request:
            return b64decode(self.request["body_b64"])
        return str(self.request.get("body") or "").encode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that are sent as they are."""
        given = [(name, value) for name, value in self.request["headers"].items() if name.lower() not in _FRAMING]
        return [(name, each) for name, value in given for each in (value if isinstance(value, list) else [value])]

    def message(self, host: str) -> bytes:
        """The bytes of the whole request; `host` is named if the sample names none."""
        query = self.request.get("query", "")
        target = f"/in/{self.account}?{query}" if query else f"/in/{self.account}"
        named = any(name.lower() == "host" for name, _ in self.headers)
        headers = [*self.headers, *([] if named else [("Host", host)]), ("Content-Length", str(len(self.body)))]
        lines = [f"{self.request['method']} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def read_samples(folder: Path) -> list[Sample]:
    """Every sample under a folder, in the order of their time, in which no clock has to go back."""
    samples: list[Sample] = []
    rounds: Counter[str] = Counter()
    for number, path in enumerate(sorted(folder.rglob("*.json"))):
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or not {"request", "expect", "now"} <= content.keys():
            continue  # JSON of another kind
        content.setdefault("secret", {})
        found = _PATH.fullmatch(content["request"].get("path", ""))
        account = found[1] if found else f"sample-{number}"
        name = path.relative_to(folder).with_suffix("").as_posix()
        samples.append(Sample(name, content.get("adapter", path.parent.name), account, rounds[account], content))
        rounds[account] += 1
    return sorted(samples, key=lambda sample: float(sample.content["now"]))


def write_configuration(folder: Path, samples: Iterable[Sample], store_url: str, prefix: str) -> Path:
    """A configuration file with an account for each sample, and the files of its secrets.

    Raises `KeyError` for a secret that an account needs and its sample lacks. Their wire formats must be known.
    """
    secrets = {WEBHOOK_SECRET: "webhook-secret"}

    def keep(secret: str) -> str:
        return f"file:{secrets.setdefault(secret, f'secret-{len(secrets)}')}"

    lines = [PROGRAM, f"[limits]\njoin_seconds = {JOIN_SECONDS}"]
    lines.append(as_table("store", {"url": store_url, "prefix": prefix, "data": "data", "shards": 1}))
    for sample in samples:
        secret = sample.content["secret"]
        keys = account_keys(sample.adapter)
        assert keys, f"no adapter speaks {sample.adapter}"
        options = _address(secret) | keys(secret, keep)
        lines.append(as_table(f"accounts.{sample.account}", options))
        number = {"number": OWN_NUMBER, "account": sample.account, "type": "long_code", "program": "none"}
        lines.append(as_table("[numbers]", number))
    folder.mkdir(parents=True, exist_ok=True)
    for value, file in secrets.items():
        (folder / file).write_text(value)
    path = folder / "keyroute.toml"
    path.write_text("\n".join(lines))
    return path


def account_keys(adapter: str) -> Callable[[dict[str, Any], Keep], dict[str, Any]] | None:
    """How an account for a wire format is made: as `ACCOUNTS` says, or one to one; None if nobody speaks it."""
    names = (adapter, adapter.replace("-", "_"))
    known = next((ACCOUNTS[name] for name in names if name in ACCOUNTS), None)
    installed = next((name for name in names if name in registry.names("router.carriers")), None)
    return known or (partial(one_to_one, installed) if installed else None)


def _address(secret: dict[str, Any]) -> dict[str, Any]:
    """How the carrier's URL is known; a query or fragment has no part in the configuration."""
    if secret.get("trust_proxy_headers"):
        return {"trust_proxy_headers": True}
    return {"public_url": re.split("[?#]", secret["public_url"])[0]} if secret.get("public_url") else {}


def as_table(name: str, keys: dict[str, Any]) -> str:
    """A table as TOML."""
    return "\n".join([f"[{name}]", *(f"{key} = {as_toml(value)}" for key, value in keys.items())])


def as_toml(value: object) -> str:
    """A value as TOML: texts as in JSON, tables and lists inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
