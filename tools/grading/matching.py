"""Whose work is it? What a platform wrote into a name, held against the roster; never guessed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tools.grading.platforms import Named, Receipt, readings
from tools.grading.roster import NUMBERS, Learner, Roster, key, spellings


@dataclass
class Match:
    """Whose a name is: nobody's, somebody's, or that of all members of a group; ``reason`` says why nobody's."""

    named: Named
    learners: list[Learner] = field(default_factory=list)
    reason: str = ""
    note: str = ""
    by_name_alone: bool = False


class Matcher:
    """Finds the learner for the names of one archive.

    Args:
        roster: who is in the class.
        names: of Blackboard's attempts, title and user name in one, for the title that they share.
        receipts: Blackboard's, by such a name.
    """

    def __init__(self, roster: Roster, names: Iterable[str] = (), receipts: dict[str, Receipt] | None = None) -> None:
        self.roster, self.receipts = roster, receipts or {}
        self.titles = Counter(title for name in set(names) for title in _titles(name))

    def match(self, part: str) -> Match | None:
        """Whose this part of a path is; None if no platform gives such a name."""
        found = readings(part)
        if not found:
            return None
        if found[0].platform == "blackboard":
            return self._by_user(found)
        return self._by_number_and_name(found)

    def _by_number_and_name(self, found: list[Named]) -> Match:
        """A name counts with its number. Learners choose the rest of a file's name, some their own name too: of
        several readings only one in which both agree is taken."""
        for named in found:
            if (members := self.roster.in_group(named.name)) and not self.roster.by_name(named.name):
                owner = self.roster.by_number(named.platform, named.number)
                if named.platform != "canvas" or not owner or owner[0] in members:
                    return Match(named, members)
        for named in found:
            owner = self.roster.by_number(named.platform, named.number)
            if len(owner) == 1 and (not key(named.name) or is_called(owner[0], named.name)):
                return Match(named, owner)
        for named in found:
            column = NUMBERS[named.platform]
            called = self.roster.by_name(named.name) if key(named.name) else []
            possible = [learner for learner in called if column not in learner.columns]
            if len(possible) == 1 and len(called) == 1:
                return Match(named, possible, by_name_alone=True)
            if called:
                ids = ", ".join(learner.id for learner in called)
                if len(called) > 1:
                    return Match(named, reason=f"{len(called)} in the roster have this name: {ids}")
                return Match(named, reason=f"the number {named.number} is not that of {ids}, who has this name")
        named = found[0]
        owner = self.roster.by_number(named.platform, named.number)
        if len(owner) == 1 and len(found) == 1:
            return Match(named, owner, note=f"called {named.name!r} there")
        if owner:
            ids = ", ".join(learner.id for learner in owner)
            return Match(named, reason=f"the number {named.number} is that of {ids}, whose name is another")
        if named.platform == "canvas" and named.prefix.startswith("anon_"):
            return Match(named, reason="anonymous: show names in Canvas, and download once more")
        return Match(named, reason="nobody in the roster has this name or number")

    def _by_user(self, found: list[Named]) -> Match:
        """Title and user name may both have underscores: the receipt says which is which, else the title of all."""
        whole = found[0].prefix
        note = self.receipts.get(whole)
        if note and (whole == note.user or whole.endswith(f"_{note.user}")):
            named = replace(found[0], name=note.user)
            learners = self.roster.by_user(note.user)
            if len(learners) == 1:
                return Match(named, learners)
            called = self.roster.by_name(note.name)
            if not learners and len(called) == 1 and "Username" not in called[0].columns:
                return Match(named, called, by_name_alone=True)
            if not learners and (members := self.roster.in_group(note.name)):
                return Match(named, members)
            return Match(
                named, reason=f"{len(learners or called) or 'nobody'} in the roster: {note.name} ({note.user})"
            )
        known = [named for named in found if len(self.roster.by_user(named.name)) == 1]
        known.sort(key=lambda named: (self.titles[whole.removesuffix(f"_{named.name}")], len(named.name)))
        if known:
            return Match(known[-1], self.roster.by_user(known[-1].name))
        for named in found:
            if members := self.roster.in_group(named.name):
                return Match(named, members)
        return Match(found[0], reason="nobody in the roster has this user name")

    def by_folder(self, parts: Sequence[str]) -> Match | None:
        """For archives of no platform's: a folder or file whose name is a learner's id, address or full name."""
        for n, part in enumerate(parts):
            last = n == len(parts) - 1
            stem = part.rpartition(".")[0] if last and "." in part else part
            if len(owner := self.roster.by_user(stem) or self.roster.by_name(stem) if key(stem) else []) == 1:
                return Match(Named("", part, stem, file=part if last else ""), owner)
        return None


def is_called(learner: Learner, name: str) -> bool:
    """Whether a platform's name may be this learner's."""
    ways = spellings(learner.columns) or {learner.name}
    return key(name) in map(key, ways) or key(name, loose=True) in (key(way, loose=True) for way in ways)


def doubtful(matches: Iterable[Match]) -> dict[str, str]:
    """Learners for whom an archive has two people, told apart by the platform's numbers: ids, and the reason."""
    numbers = defaultdict(set)
    for match in matches:
        if match.by_name_alone and len(match.learners) == 1:
            numbers[match.learners[0].id].add((match.named.number, match.named.name))
    return {id: f"{len(found)} people there have the name of {id}" for id, found in numbers.items() if len(found) > 1}


def _titles(name: str) -> list[str]:
    words = name.split("_")
    return ["_".join(words[:n]) for n in range(1, len(words))]
