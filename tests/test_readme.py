"""The README's examples, as they stand: its curl lines against the example configuration, its lines of Python."""

import doctest
import re
import shlex
from pathlib import Path
from urllib.parse import quote_plus

import aiohttp

from router import normalize
from tests.running import Keyroute

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "README.md").read_text().partition("\n## A first message\n")[2].partition("\n## ")[0]
#: Each curl line with the answer that stands below it.
EXAMPLES = re.findall(r"```sh\n(curl .*?)\n```\n\n```(?:json|xml)\n(.*?)\n```", SECTION, re.DOTALL)


def example(folder: Path) -> Path:
    """The example configuration with the secrets that `make run` writes."""
    (folder / "data" / "secrets").mkdir(parents=True)
    for content, name in re.findall(r"printf '(.*)' > \$@/(.+)", (ROOT / "Makefile").read_text()):
        (folder / "data" / "secrets" / name).write_text(content)
    path = folder / "keyroute.toml"
    path.write_text((ROOT / "keyroute.toml").read_text())
    return path


async def sent(session: aiohttp.ClientSession, command: str, origin: str) -> str:
    """The answer to what curl would send."""
    url, *options = shlex.split(command.replace("\\\n", " "))[1:]
    headers, body, fields = {}, "", []
    for option, value in zip(options[::2], options[1::2], strict=True):
        name, _, rest = value.partition("=" if option == "--data-urlencode" else ": ")
        match option:
            case "-H":
                headers[name] = rest
            case "-d":
                body = value
            case "--data-urlencode":
                fields.append(f"{name}={quote_plus(rest)}")
    headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    url = url.replace("http://127.0.0.1:8080", origin)
    async with session.post(url, data=body or "&".join(fields), headers=headers) as response:
        return await response.text()


async def test_its_curl_lines_get_the_answers_that_stand_below_them(tmp_path: Path) -> None:
    assert len(EXAMPLES) == 2
    async with Keyroute(example(tmp_path)) as server, aiohttp.ClientSession() as session:
        # Each twice at once: the last one opts out, and what came before it is not answered any more.
        answers = [[await sent(session, command, server.origin) for _ in range(2)] for command, _ in EXAMPLES]

    assert answers == [[answer, answer] for _, answer in EXAMPLES]


def test_its_lines_of_python_give_what_stands_below_them() -> None:
    names: dict[str, object] = {"normalize": normalize}
    blocks = "\n\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    test = doctest.DocTestParser().get_doctest(blocks, names, "README.md", None, None)

    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
