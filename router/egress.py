"""The one door through which texts leave for people, in a carrier's answer or by its send API.

Who wants to watch what leaves adds an audit hook (`sys.addaudithook`) and listens to the event `keyroute.send`: it gets
the arguments of `leave`, the decision taken apart.
"""

import sys

from router.types import Decision


def leave(event_id: str, account: str, number: str, person: str, decision: Decision) -> None:
    """To be called for each text right before it leaves: from a number of an account, to a person."""
    sys.audit(
        "keyroute.send",
        event_id,
        account,
        number,
        person,
        decision.program,
        decision.intent,
        decision.before,
        decision.after,
        decision.reply,
    )
