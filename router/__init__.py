"""A low-latency keyword router for SMS and WhatsApp: the version and the names for use as a library."""

from router._core import KeywordMatcher, PhoneNumber, normalize
from router._version import VERSION

__version__ = VERSION
__all__ = ["KeywordMatcher", "PhoneNumber", "__version__", "normalize"]
