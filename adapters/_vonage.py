"""What both APIs of Vonage share."""

from collections.abc import Mapping

from router.ports import CarrierAnswers
from router.types import Intent

#: By Opt-Out Assist; what opts in is written into a campaign's registration. Source: Vonage, "Opt-Out Assist".
OPT_OUT_ASSIST: Mapping[Intent, CarrierAnswers] = {
    "opt_out": CarrierAnswers(frozenset({"STOP", "END", "QUIT", "CANCEL", "UNSUBSCRIBE"})),
    "opt_in": CarrierAnswers(),
    "help": CarrierAnswers(frozenset({"HELP"})),
}
