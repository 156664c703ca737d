"""Phone numbers as people, carriers and attackers write them: endless inputs of several kinds, from a seed."""

import random
from collections.abc import Callable, Iterator
from functools import cache

import phonenumbers
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberFormat

#: Country code and national number as people and carriers write them, for Hypothesis.
WRITTEN = st.tuples(
    st.sampled_from(["+", "+", "+", "", "00", "011", "＋", "tel:+", " +"]),
    st.one_of(st.sampled_from(sorted(COUNTRY_CODE_TO_REGION_CODE)).map(str), st.text("0123456789", max_size=18)),
    st.lists(
        st.one_of(st.text("0123456789", max_size=18), st.sampled_from(list(" -().x/٣")), st.characters()), max_size=6
    ).map("".join),
).map("".join)

#: A text, and the region that it is said to be from.
Input = tuple[str, str | None]

_FORMATS = (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966)
_KINDS = [
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "general_desc",
]
_MARKS = "-- ..()/[]*\u00a0\u00ad\u2010\u2013\u2212\u200b\u2060\u3000（）［］．／－⁓∼"
_ODD = [
    *"~～xX#,;:_ー+＋'\"\n\t\x00abcEXT",
    "ext",
    "int",
    "доб",
    ";ext=",
    ";isub=",
    ";phone-context=",
    "tel:",
    "²",
    "٫",
    "\ud800",
]
_LABELS = [" ext. ", "x", " x ", "#", ",", ",,", ";", ";ext=", " anexo ", "доб", "～", "~", " int ", "- "]
_NO_REGIONS = ["ZZ", "us", "", "001", "USA", "É"]
#: Zeros from which ten digits of a script follow.
_SCRIPTS = ["０", "٠", "۰", "०", "๐", "𝟎"]


@cache
def plans() -> list[PhoneMetadata]:
    """The metadata of every region and of every code without one."""
    pairs = [(code, region) for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() for region in regions]
    found = [PhoneMetadata.metadata_for_region_or_calling_code(code, region) for code, region in pairs]
    return [plan for plan in found if plan]


@cache
def examples() -> list[tuple[PhoneMetadata, str]]:
    """The example numbers of every plan, of every type that it has."""
    found = [(plan, getattr(plan, kind)) for plan in plans() for kind in _KINDS]
    return [(plan, desc.example_number) for plan, desc in found if desc and desc.example_number]


class Writer:
    """Writes numbers; the same seed writes the same ones."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def inputs(self) -> Iterator[tuple[str, Input]]:
        """Endless pairs of a kind and an input, the kinds in turns."""
        while True:
            for kind, write in KINDS.items():
                yield kind, write(self)

    def example(self) -> Input:
        """A valid number of any region and type in E.164."""
        plan, number = self._chance.choice(examples())
        return f"+{plan.country_code}{number}", None

    def near(self) -> Input:
        """A number whose first digits are good: its last ones are any."""
        plan, number = self._near()
        return f"+{plan.country_code}{number}", self._region(plan)

    def digits(self) -> Input:
        """A country code and any digits of any length."""
        plan = self._chance.choice(plans())
        return f"+{plan.country_code}{self._digits(18)}", self._region(plan)

    def national(self) -> Input:
        """A number as it is written at home, often behind a national prefix."""
        plan, number = self._near()
        prefix = self._chance.choice(["", "", plan.national_prefix or "", "0", self._digits(3), str(plan.country_code)])
        return prefix + number, self._home(plan)

    def abroad(self) -> Input:
        """A number behind an international prefix of another region."""
        plan, number = self._near()
        home = self._chance.choice(plans())
        prefixes = ["00", "011", home.preferred_international_prefix or "00", home.international_prefix or "00"]
        prefix = "".join(ch for ch in self._chance.choice(prefixes) if ch.isdecimal())
        return f"{prefix}{plan.country_code}{number}", self._home(home)

    def formatted(self) -> Input:
        """A number as it is printed, or with marks anywhere, in any script's digits, with something around it."""
        plan, number = self._near()
        if self._chance.random() < 0.4:
            parsed = phonenumbers.PhoneNumber(country_code=plan.country_code, national_number=int(number))
            if self._chance.random() < 0.5:
                return phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL), self._home(plan)
            return phonenumbers.format_number(parsed, self._chance.choice(_FORMATS)), self._region(plan)
        text, region = self._chance.choice([self.near, self.national, self.abroad])()
        text = "".join(ch + self._chance.choice(_MARKS) * (self._chance.random() < 0.2) for ch in text)
        if self._chance.random() < 0.3:
            zero = ord(self._chance.choice(_SCRIPTS))
            text = "".join(chr(zero + int(ch)) if ch in "0123456789" else ch for ch in text).replace("+", "＋")
        before, behind = (
            self._chance.choice(["", "", "", "tel:", "Tel. (", " "]),
            self._chance.choice(["", "", ".", ")", " \n"]),
        )
        return before + text + behind, region

    def extended(self) -> Input:
        """A number with an extension, or with letters for digits."""
        text, region = self._chance.choice([self.near, self.national, self.formatted])()
        if self._chance.random() < 0.2:
            return text[: len(text) // 2] + self._chance.choice(["CALL", "FLOWERS", "Ab"]) + text[
                len(text) // 2 :
            ], region
        return text + self._chance.choice(_LABELS) + self._digits(12) + self._chance.choice(["", "", "#"]), region

    def mutated(self) -> Input:
        """Any of the others with a few characters changed, left out or put in."""
        text, region = self._chance.choice([self.near, self.national, self.abroad, self.formatted, self.extended])()
        for _ in range(self._chance.randint(1, 3)):
            at = self._chance.randint(0, len(text))
            new = self._chance.choice(["", "", *"0123456789", *_MARKS, *_ODD])
            text = text[:at] + new + text[at + self._chance.randint(0, 2) :]
        return text, region if self._chance.random() < 0.8 else self._chance.choice(_NO_REGIONS)

    def hostile(self) -> Input:
        """Anything, up to too much of it."""
        length = self._chance.choice([0, 1, 2, 3, 8, 20, 40, 249, 250, 251, 400])
        alphabet = self._chance.choice(["0123456789", "+0123456789", "".join(_ODD) + _MARKS + "0123456789", None])
        if alphabet:
            text = "".join(self._chance.choices(alphabet, k=length))
        else:
            text = "".join(chr(self._chance.randrange(0x110000)) for _ in range(length))
        return text, self._chance.choice([None, self._home(self._chance.choice(plans())), *_NO_REGIONS])

    def _near(self) -> tuple[PhoneMetadata, str]:
        plan, number = self._chance.choice(examples())
        kept = self._chance.randint(0, len(number))
        rest = len(number) - kept + self._chance.choice([0, 0, 0, 0, 0, 0, -1, 1])
        return plan, number[:kept] + "".join(self._chance.choices("0123456789", k=max(rest, 1)))

    def _digits(self, most: int) -> str:
        return "".join(self._chance.choices("0123456789", k=self._chance.randint(1, most)))

    def _home(self, plan: PhoneMetadata) -> str | None:
        """A region that a number can be from; of plans without one, any."""
        return plan.id if len(plan.id) == 2 else self._chance.choice(plans()).id

    def _region(self, plan: PhoneMetadata) -> str | None:
        return self._chance.choice([None, None, plan.id, self._home(self._chance.choice(plans()))])


#: How each kind of input is written.
KINDS: dict[str, Callable[[Writer], Input]] = {
    "example": Writer.example,
    "near": Writer.near,
    "digits": Writer.digits,
    "national": Writer.national,
    "abroad": Writer.abroad,
    "formatted": Writer.formatted,
    "extended": Writer.extended,
    "mutated": Writer.mutated,
    "hostile": Writer.hostile,
}
