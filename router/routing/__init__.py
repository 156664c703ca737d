"""The configuration made ready for texts: which number leads where, what it listens to, and what follows.

Built whole from a `Settings`, never edited; a reload builds another one and swaps it in.
"""

from router.routing.accounts import API_ACCOUNT, KEPT_HEADERS, Account
from router.routing.routes import Route
from router.routing.routing import Routing

__all__ = ["API_ACCOUNT", "KEPT_HEADERS", "Account", "Route", "Routing"]
