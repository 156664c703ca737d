"""Ed25519 signatures: who verifies them holds no secret."""

from base64 import b64decode, b64encode
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from adapters._signing import decode_base64


class VerifyKey:
    """An Ed25519 public key, made ready once, from its Base64 with or without `whpk_`; else raises `ValueError`."""

    def __init__(self, text: str) -> None:
        self._ready = Ed25519PublicKey.from_public_bytes(decode_base64(text.strip().removeprefix("whpk_")))

    def fits(self, given: str, message: bytes) -> bool:
        """Whether what came from outside, of any characters and length, is this key's signature in Base64."""
        try:
            signature = b64decode(given, validate=True)
            self._ready.verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        # One way to write it, so that a changed character is a changed signature.
        return b64encode(signature).decode() == given


def _check_public_key(text: str) -> str:
    try:
        VerifyKey(text)
    except ValueError:
        remedy = "Write it as the sender shows it: the Base64 of 32 bytes."
        raise PydanticCustomError("key_shape", "is not an Ed25519 public key.", {"remedy": remedy}) from None
    return text


#: An Ed25519 public key in Base64, with or without `whpk_`. It is no secret.
PublicKey = Annotated[str, AfterValidator(_check_public_key)]
