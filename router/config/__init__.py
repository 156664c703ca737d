"""The configuration file: read once, frozen, validated as a whole. What the rest of the product needs of it is here."""

from router.config.file import load
from router.config.permissions import PERMISSIONS
from router.config.programs import Keyword, Number, Program
from router.config.settings import Account, ApiKey, Destination, Settings, bearing_on

__all__ = [
    "PERMISSIONS",
    "Account",
    "ApiKey",
    "Destination",
    "Keyword",
    "Number",
    "Program",
    "Settings",
    "bearing_on",
    "load",
]
