"""The users of a workspace: who they are by alias, external id and phone, and what is known of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Alias = tuple[str, str]
#: Runs something later, in so many seconds.
Later = Callable[[float, Callable[[], None]], object]

_IDENTIFIERS = {"user_alias", "external_id", "_update_existing_only"}


class States(dict[str, str]):
    """State by subscription group; `shown` is what a reader is told, which follows later."""

    def __init__(self, states: "States | None" = None) -> None:
        super().__init__(states or {})
        self.shown: dict[str, str] = dict(states.shown) if states else {}


@dataclass(slots=True, eq=False)
class Profile:
    """A user. Profiles with the same phone share one `groups`."""

    aliases: set[Alias] = field(default_factory=set)
    external_id: str | None = None
    phone: str | None = None
    groups: States = field(default_factory=States)
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)


class Users:
    """`profiles` by (label, name) of each alias; `lag` is how much later a reader sees a state, in seconds."""

    def __init__(self, later: Later) -> None:
        self.profiles: dict[Alias, Profile] = {}
        self.by_external_id: dict[str, Profile] = {}
        self.by_phone: dict[str, list[Profile]] = {}
        self.lag = 0.0
        self._later = later

    def named(self, alias: Alias) -> Profile:
        """The user with an alias, who is created if there is none."""
        profile = self.profiles.setdefault(alias, Profile())
        profile.aliases.add(alias)
        return profile

    def of(self, item: dict[str, Any]) -> Profile | None:
        """Whom an object is about. One who is not there is created where Braze would, else it is None."""
        if alias := item.get("user_alias"):
            key = alias["alias_label"], alias["alias_name"]
            # It is true unless it is said to be false, for aliases.
            return self.profiles.get(key) or (None if item.get("_update_existing_only", True) else self.named(key))
        updates_only = item.get("_update_existing_only", False)
        if external_id := item.get("external_id"):
            found = self.by_external_id.get(external_id)
            return found or (None if updates_only else self.with_external_id(external_id))
        if phone := item.get("phone"):
            if sharing := self.by_phone.get(phone):
                return sharing[0]
            if not updates_only:
                profile = Profile()
                self.move(profile, phone)
                return profile
        return None

    def with_external_id(self, external_id: str) -> Profile:
        """The user with an external id, who is created if there is none."""
        return self.by_external_id.setdefault(external_id, Profile(external_id=external_id))

    def add_alias(self, item: dict[str, Any]) -> None:
        """What `/users/alias/new` does: nothing for an alias that is taken, or a user who is not there."""
        key = item["alias_label"], item["alias_name"]
        if key in self.profiles:
            return
        if external_id := item.get("external_id"):
            profile = self.by_external_id.get(external_id)
            if profile and all(label != key[0] for label, _ in profile.aliases):
                profile.aliases.add(key)
                self.profiles[key] = profile
        else:
            self.named(key)

    def update(self, profile: Profile, item: dict[str, Any]) -> None:
        """Applies an attributes object."""
        traits = {key: value for key, value in item.items() if key not in _IDENTIFIERS}
        if phone := traits.pop("phone", None):
            self.move(profile, phone)
        for group in traits.pop("subscription_groups", ()):
            self._set(profile.groups, group["subscription_group_id"], group["subscription_state"])
        profile.attributes.update(traits)

    def set_state(self, profiles: list[Profile], group: str, state: str) -> None:
        """Changes a state of users, and so of all who share their phones."""
        for profile in profiles:
            self._set(profile.groups, group, state)

    def _set(self, groups: States, group: str, state: str) -> None:
        groups[group] = state
        if self.lag:
            self._later(self.lag, lambda: groups.shown.update({group: state}))
        else:
            groups.shown[group] = state

    def move(self, profile: Profile, phone: str) -> None:
        """Gives a user a number. One that Braze knows keeps its states, and the user takes them over; else it takes the
        user's.
        """
        if profile.phone == phone:
            return
        self._leave(profile)
        sharing = self.by_phone.setdefault(phone, [])
        profile.groups = sharing[0].groups if sharing else States(profile.groups)
        profile.phone = phone
        sharing.append(profile)

    def remove(self, profile: Profile) -> None:
        """The user is gone, with all aliases."""
        for alias in profile.aliases:
            del self.profiles[alias]
        if profile.external_id:
            del self.by_external_id[profile.external_id]
        self._leave(profile)

    def _leave(self, profile: Profile) -> None:
        if profile.phone:
            sharing = self.by_phone[profile.phone]
            sharing.remove(profile)
            if not sharing:
                del self.by_phone[profile.phone]
