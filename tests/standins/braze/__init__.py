"""A Braze workspace: the endpoints that keyroute calls, and some more, with what Braze does not tell its callers.

It answers before it applies, drops what is for a missing alias without a word, and keeps every repeat. It knows no
e-mail addresses and no `braze_id`.
"""

from tests.standins.braze.record import Arrival
from tests.standins.braze.server import API_KEY, Braze
from tests.standins.braze.users import Alias, Profile

__all__ = ["API_KEY", "Alias", "Arrival", "Braze", "Profile"]
