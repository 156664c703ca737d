"""Carrier samples (their fields: `tests/fixtures/carriers/FIELDS.md`) and their accounts in a configuration."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Keeps a secret where the configuration can name it, and returns how it does.
Keep = Callable[[str], str]

#: For each wire format: the keys of an account, made from what its carrier and we know (`secret` of a sample).
ACCOUNTS: dict[str, Callable[[dict[str, Any], Keep], dict[str, Any]]] = {
    "twilio": lambda secret, keep: {
        "carrier": "twilio",
        "auth_tokens": [keep(secret["auth_token"])],
        "shared_keys": {key_id: keep(key) for key_id, key in secret.get("shared_keys", {}).items()},
    },
}

#: A configuration has a program. None of the samples' numbers is its own.
PROGRAM = """
[programs.none]
name = "None"
[programs.none.replies.en]
opt_in = "Welcome."
opt_out = "Goodbye."
help = "Text STOP to leave."
"""


@dataclass(frozen=True)
class Sample:
    """One sample; `account` is its own in the configuration."""

    name: str
    adapter: str
    account: str
    content: dict[str, Any]

    @property
    def target(self) -> str:
        """The path and query that it is sent to."""
        query = self.content["request"]["query"]
        return f"/in/{self.account}?{query}" if query else f"/in/{self.account}"

    @property
    def body(self) -> bytes:
        """The bytes of its body."""
        request = self.content["request"]
        return b64decode(request["body_b64"]) if "body_b64" in request else request["body"].encode()


def read_samples(folder: Path) -> list[Sample]:
    """Every sample under a folder, in the order of their paths."""
    samples = []
    for number, path in enumerate(sorted(folder.rglob("*.json"))):
        name = path.relative_to(folder).with_suffix("").as_posix()
        content = json.loads(path.read_text())
        samples.append(Sample(name, content.get("adapter", path.parent.name), f"sample-{number}", content))
    return samples


def write_configuration(folder: Path, samples: Iterable[Sample]) -> Path:
    """A configuration file with an account for each sample whose wire format is known, and the files of its secrets."""
    secrets: dict[str, str] = {}

    def keep(secret: str) -> str:
        file = secrets.setdefault(secret, f"secret-{len(secrets)}")
        (folder / file).write_text(secret)
        return f"file:{file}"

    lines = [PROGRAM, "[store]", f"data = {as_toml(str(folder / 'data'))}"]
    for sample in samples:
        if sample.adapter in ACCOUNTS:
            secret = sample.content["secret"]
            options = {"public_url": secret["public_url"], **ACCOUNTS[sample.adapter](secret, keep)}
            lines += [f"[accounts.{sample.account}]", *(f"{key} = {as_toml(value)}" for key, value in options.items())]
    path = folder / "keyroute.toml"
    path.write_text("\n".join(lines))
    return path


def as_toml(value: object) -> str:
    """A value as TOML: texts and lists of them as in JSON, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
