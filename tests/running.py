"""keyroute as a process of its own, its configuration, and people who text it as Twilio would."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import aiohttp
from twilio.request_validator import RequestValidator

from router.embedded import EmbeddedServer
from router.store import Store

KEYROUTE = Path(sys.executable).with_name("keyroute")
TOKEN = "0123456789abcdef0123456789abcdef"
API_TOKEN = "a-token-for-the-tests"
WEBHOOK_SECRET = "whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY="
BRAZE_KEY = "a-key-for-the-tests"
DEALS, ALERTS = "20202", "+14155550199"
PUBLIC_URL = "https://sms.example.com/in/twilio"


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def own_store(folder: Path) -> AsyncIterator[Store]:
    """An open store with four shards on an embedded server of its own."""
    server = EmbeddedServer(folder)
    server.spawn()
    await server.ready()
    store = Store(server.url, prefix="own", shards=4, durability="fsync", timeout_seconds=10.0)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
        server.stop()


def write_configuration(
    folder: Path,
    *,
    crm: str | None = None,
    braze: str | None = None,
    store: str = "",
    account: str = "",
    extra: str = "",
) -> Path:
    """A configuration with a double opt-in program on 20202 and a single opt-in one on +14155550199.

    `crm` and `braze` are the addresses of destinations that both programs tell; those not given are not there.
    """
    secrets = {"token": TOKEN, "api": API_TOKEN, "webhook": WEBHOOK_SECRET, "braze": BRAZE_KEY}
    for name, value in secrets.items():
        (folder / f"{name}.secret").write_text(value)
    told, destinations = "", ""
    for program in ("deals", "alerts"):
        told += f"[programs.{program}.destinations.crm]\n" if crm else ""
        told += f'[programs.{program}.destinations.braze]\nsubscription_group_id = "group-{program}"\n' if braze else ""
    if crm:
        destinations += f"""
[destinations.crm]
platform = "webhook"
url = "{crm}"
secrets = ["file:webhook.secret"]
allow_private = true
timeout_seconds = 2
"""
    if braze:
        destinations += f"""
[destinations.braze]
platform = "braze"
url = "{braze}"
api_key = "file:braze.secret"
allow_private = true
timeout_seconds = 5
"""
    path = folder / "keyroute.toml"
    path.write_text(f"""
[store]
data = "data"
shards = 4
{store}
[limits]
replies_per_hour = 1000000
[api]
tokens = ["file:api.secret"]
[worker]
lease_seconds = 1
[accounts.twilio]
carrier = "twilio"
public_url = "{PUBLIC_URL}"
auth_tokens = ["file:token.secret"]
{account}
[[numbers]]
number = "{DEALS}"
account = "twilio"
type = "short_code"
program = "deals"
[[numbers]]
number = "{ALERTS}"
account = "twilio"
type = "long_code"
program = "alerts"
carrier_answers = []
[programs.deals]
name = "Deals"
languages = ["en", "fr"]
opt_in = "double"
[programs.deals.replies.en]
opt_in = "Welcome to Deals."
prompt = "Reply YES to get Deals."
opt_out = "You get no more Deals."
help = "Deals: call 555."
none = "We did not understand."
[programs.deals.replies.fr]
opt_in = "Bienvenue."
prompt = "Répondez OUI."
opt_out = "Vous êtes désabonné."
help = "Aide : appelez le 555."
[[programs.deals.keywords]]
words = ["COUPONS"]
replies = {{ en = "Ten percent off & more." }}
[programs.alerts]
name = "Alerts"
languages = ["en"]
[programs.alerts.replies.en]
opt_in = "Welcome to Alerts."
opt_out = "You get no more Alerts."
help = "Alerts: call 556."
[[programs.alerts.keywords]]
words = ["STATUS"]
replies = {{ en = "All is well." }}
{told}{destinations}
{extra}
""")
    return path


class Keyroute:
    """A server process. In its `async with` block it runs and is ready, which may take `patience` seconds.
    `environment` is ours if not given; `within` is a command that runs it.
    """

    def __init__(
        self,
        config: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        patience: float = 15.0,
        within: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._environment = environment
        self._patience = patience
        self._within = within
        self._log = config.with_name(f"server-{self.port}.log")
        self.process: subprocess.Popen[bytes]

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await self.ready(self._patience)
        except BaseException:
            self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the process, without waiting for it."""
        serve = (str(KEYROUTE), "serve", "--config", str(self.config), "--port", str(self.port))
        command = [*self._within, *serve, *self._arguments]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    async def listening(self) -> None:
        """Returns when the process answers at all."""
        await self._answers("/healthz", 15.0)

    async def ready(self, within: float = 15.0) -> None:
        """Returns when the process takes texts into its store."""
        await self._answers("/readyz", within)

    async def _answers(self, path: str, within: float) -> None:
        async with asyncio.timeout(within), aiohttp.ClientSession() as session:
            while True:
                assert self.process.poll() is None, self.log
                try:
                    async with session.get(self.origin + path) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.005)  # a process that is starting tells nobody when it is done

    def kill(self) -> None:
        """Ends the process at once, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ends the process as an operator would; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=20)

    @property
    def log(self) -> str:
        """What the process has said."""
        return self._log.read_text()


class Twilio:
    """Sends signed webhooks over one connection pool."""

    def __init__(self, origin: str, session: aiohttp.ClientSession) -> None:
        self._url = f"{origin}/in/twilio"
        self._session = session
        self._validator = RequestValidator(TOKEN)

    async def text(
        self, message_id: str, text: str, *, sender: str = "+14155550101", to: str = DEALS, **fields: str
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises `aiohttp.ClientError` when there is none."""
        form = {"MessageSid": message_id, "From": sender, "To": to, "Body": text, "NumMedia": "0"} | fields
        return await self.post(form, self._validator.compute_signature(PUBLIC_URL, form))

    async def post(self, form: dict[str, str], signature: str) -> tuple[int, bytes]:
        """The same with a signature of the caller's choice."""
        headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
        async with self._session.post(self._url, data=urlencode(form), headers=headers) as response:
            return response.status, await response.read()
