"""Keys of the API as the configuration has them: what they may be used for, and their digests."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from router.config.wording import suggestion

#: What a key can be used for, by the platform's own names.
PERMISSIONS = (
    "users.track",
    "users.alias.new",
    "users.alias.update",
    "subscription.status.set",
    "subscription.status.get",
    "subscription.groups.get",
)
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _digest(written: str) -> str:
    if not _DIGEST.fullmatch(written):
        # What was written is not repeated: it may be the key itself.
        remedy = "Run `keyroute key`, which prints a new key and the lines for it."
        raise PydanticCustomError("digest_form", "is no SHA-256 in hex: 64 of 0-9 and a-f.", {"remedy": remedy})
    return written


def _permission(written: str) -> str:
    if written not in PERMISSIONS:
        remedy = suggestion(written, PERMISSIONS, "Write one of these")
        raise PydanticCustomError("permission_unknown", "is not a permission that there is.", {"remedy": remedy})
    return written


Digest = Annotated[str, AfterValidator(_digest)]
Permission = Annotated[str, AfterValidator(_permission)]
