"""`keyroute normalize`: phone numbers, one a line, to E.164."""

import sys

import click
import orjson

from router._core import normalize


@click.command("normalize")
@click.option("--region", metavar="CC", help="Where numbers without + are from, two letters such as US.")
def command(region: str | None) -> None:
    """Phone numbers on standard input, to E.164.

    One a line in, one JSON object a line out.
    """
    for line in sys.stdin.buffer:
        raw = line.decode("utf-8", "replace").rstrip("\r\n")
        sys.stdout.buffer.write(orjson.dumps(_described(raw, region)) + b"\n")


def _described(raw: str, region: str | None) -> dict[str, object]:
    try:
        number = normalize(raw, region)
    except ValueError as error:
        return {"input": raw, "e164": None, "valid": False, "possible": False, "region": None, "error": str(error)}
    return {
        "input": raw,
        "e164": number.e164,
        "valid": number.valid,
        "possible": number.possible,
        "region": number.region,
        "error": None,
    }
