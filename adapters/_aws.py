"""AWS Signature Version 4 for requests of the JSON protocol: a POST to `/` without a query.

Source: AWS's reference on signing requests. botocore is the witness in the tests.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, repr=False)
class AwsCredentials:
    """Who signs; `session_token` belongs to keys that were lent for a time."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def signed_headers(
    credentials: AwsCredentials, region: str, service: str, url: str, headers: Mapping[str, str], body: bytes, at: float
) -> dict[str, str]:
    """These headers with the signature and what else it needs. `at` is now, in unix seconds."""
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    added = {"X-Amz-Date": moment}
    if credentials.session_token:
        added["X-Amz-Security-Token"] = credentials.session_token
    parts = urlsplit(url)
    # As clients write it: without the port that goes without saying.
    host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
    signed = {name.lower(): " ".join(value.split()) for name, value in {**headers, **added, "Host": host}.items()}
    names = ";".join(sorted(signed))
    listed = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = f"POST\n/\n\n{listed}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={credentials.access_key_id}/{scope}"
    authorization = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
    return {**headers, **added, "Authorization": authorization}
