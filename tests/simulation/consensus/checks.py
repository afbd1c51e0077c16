"""What must hold of a shard, checked on what reaches the disks, the network, the state machines and the clients.

Nothing here asks the code under test what it believes, except for its role, term and commit index.
"""

from dataclasses import dataclass, field

from raftsched_proto.internal.v1.raft_pb2 import OwnDirectory, ShardMembers

from raftsched.consensus.messages import CONFIG, AppendEntries, AppendReply, AppendResult, Message, RequestVote, Vote
from raftsched.ports import Role, Table
from tests.simulation.consensus.member import CHAIN_KEY, Member, Members
from tests.simulation.consensus.network import Network
from tests.simulation.consensus.world import Violation, World

_NO_CONTACT_SLACK_S = 1.0


@dataclass
class _Platter:
    """What is on the disk of a node."""

    log: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    term: int = 0
    vote: str = ""
    incarnation: str = ""
    stale: bool = False
    """It may lack what it acknowledged, and has yet to be told from the one before."""
    configs: dict[int, bytes] = field(default_factory=dict)
    """Entries of the log that hold the members of the shard."""

    @property
    def base(self) -> int:
        return min(self.log, default=0)

    @property
    def last(self) -> int:
        return max(self.log, default=0)

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is here, or was, and its effect is in the state."""
        return index < self.base or (index in self.log and self.log[index][0] == term)


class Checks:
    """Watches all members of a run."""

    def __init__(
        self,
        world: World,
        network: Network,
        members: Members,
        election_timeout_max_s: float,
        first: list[str] | None = None,
    ) -> None:
        """``first`` are the voters of the beginning; None: all."""
        self._world = world
        self._network = network
        self._members = members
        self._first = dict.fromkeys(members if first is None else first, ("", True))
        self._chains: dict[int, bytes] = {}
        """What the tables said of all that was applied up to an entry."""
        self._no_contact_s = 1.1 * election_timeout_max_s + _NO_CONTACT_SLACK_S
        self._platters = {node_id: _Platter() for node_id in members}
        self._graves: dict[tuple[str, str], _Platter] = {}
        """What was on disks that were lost, by node and directory."""
        self._entries: dict[tuple[int, int], bytes] = {}
        self._before: dict[tuple[int, int], int] = {}
        self._leaders: dict[int, str] = {}
        self._led_since: dict[str, tuple[int, int, float]] = {}
        self._votes: dict[tuple[str, int], str] = {}
        self._outdated: dict[tuple[str, str], int] = {}
        """Match indexes of nodes that have lost their disk, until the leader learns of it."""
        self.committed: dict[int, tuple[int, bytes, int]] = {}
        self.last_committed = 1
        self._voters_since: dict[str, dict[str, str]] = {}
        self._voters_at: dict[str, float] = {}
        self._seen_commit = dict.fromkeys(members, (0, 1))
        self._applied: dict[int, bytes] = {}
        self._applying: dict[tuple[str, int], dict[int, bytes]] = {}
        """What the open batch of a process holds."""
        self._applied_to: dict[str, tuple[int, int]] = {}
        for member in members.values():
            self._watch(member)

    @property
    def last_term(self) -> int:
        """The highest term on any disk."""
        return max(platter.term for platter in self._platters.values())

    def _watch(self, member: Member) -> None:
        member.disk.on_commit = lambda rows: self._on_commit(member, rows)
        member.after_begin = self._after_begin
        member.after_tick = self._after_tick
        member.on_apply = self._on_apply
        member.on_send = self._on_send
        member.on_leadership = self.on_leadership

    def _remembers(self, node_id: str, incarnation: str) -> bool:
        platter = self._platters[node_id]
        return platter.incarnation == incarnation and not platter.stale

    def may_forget(self, member: Member) -> bool:
        """Whether all members that may be in force keep a majority without the disk of this node."""
        for each in self._members.values():
            voters = {} if self._platters[each.id].last <= 1 else self._voters(each)
            remember = [
                node_id for node_id, named in voters.items() if node_id != member.id and self._remembers(node_id, named)
            ]
            if voters and member.id in voters and len(remember) <= len(voters) // 2:
                return False
        return True

    def disk_changed(self, member: Member) -> None:
        """The node has another disk, and is another server: what the one before had said binds it no more."""
        lost = self._platters[member.id]
        if not lost.stale:
            self._graves[member.id, lost.incarnation] = lost
        self._platters[member.id] = _Platter()
        with member.disk.read() as view:
            rows = [(table, key, value) for table in (Table.LOG, Table.RAFT) for key, value in view.scan(table)]
        self._read_rows(member, [(table, key, value) for table, key, value in rows])
        self._platters[member.id].stale = True
        for other in self._members.values():
            links = other.shard.status().links if other.shard is not None else ()
            self._outdated |= {
                (other.id, link.peer_id): link.match_index for link in links if link.peer_id == member.id
            }
        self._votes = {key: vote for key, vote in self._votes.items() if key[0] != member.id}
        self._watch(member)

    def _on_commit(self, member: Member, rows: list[tuple[Table, bytes, bytes | None]]) -> None:
        self._applied |= self._applying.pop((member.id, member.incarnation), {})
        platter, written = self._read_rows(member, rows)
        for index in written:
            self._check_matching(member, platter, index)
        self._check_tables(member)

    def _check_tables(self, member: Member) -> None:
        """Who has applied the same entries has the same tables: they hold a hash over all commands in their order."""
        with member.disk.read() as view:
            applied, chain = view.get(Table.META, b"applied_index"), view.get(Table.META, CHAIN_KEY) or b""
        if applied is not None and self._chains.setdefault(int.from_bytes(applied, "big"), chain) != chain:
            raise Violation(f"tables: {member.id} has others at {int.from_bytes(applied, 'big')} than another node had")

    def _read_rows(self, member: Member, rows: list[tuple[Table, bytes, bytes | None]]) -> tuple[_Platter, list[int]]:
        platter = self._platters[member.id]
        written = []
        for table, key, value in rows:
            if table is Table.LOG:
                index = int.from_bytes(key, "big")
                platter.configs.pop(index, None)
                if value is None:
                    platter.log.pop(index, None)
                else:
                    platter.log[index] = (int.from_bytes(value[:8], "big"), value[8:])
                    written.append(index)
                    if value[8] == CONFIG[0]:
                        platter.configs[index] = value[9:]
            elif key == b"state" and value is not None:
                platter.term, platter.vote = int.from_bytes(value[:8], "big"), value[8:].decode()
            elif key == b"directory" and value is not None:
                incarnation = OwnDirectory.FromString(value).directory.incarnation
                platter.stale = platter.stale and incarnation == platter.incarnation
                platter.incarnation = incarnation
        return platter, written

    def _check_matching(self, member: Member, platter: _Platter, index: int) -> None:
        """Log Matching: one index and term, one command, and one entry before it (Raft 5.3)."""
        if index == platter.base:
            return
        term, data = platter.log[index]
        if index - 1 not in platter.log:
            raise Violation(f"log gap: {member.id} has {index} and not {index - 1}")
        if self._entries.setdefault((index, term), data) != data:
            raise Violation(f"log matching: {member.id} has another command at {index}, term {term}")
        if self._before.setdefault((index, term), platter.log[index - 1][0]) != platter.log[index - 1][0]:
            raise Violation(f"log matching: {member.id} has another entry before {index}, term {term}")

    def _after_begin(self, member: Member) -> None:
        """What a leader has sent early must not make it count on its own disk early."""
        assert member.shard is not None
        if member.shard.role is Role.LEADER and len(self._voters(member)) > 1:
            self._check_before_commit(member, member.shard.commit_index)

    def _check_before_commit(self, member: Member, commit_index: int) -> None:
        """Within a step of a leader. A change of the members that it began is looked at when it is on the disk."""
        assert member.shard is not None
        if set(self._voters(member)) == set(member.shard.status().voters):
            self._check_commits(member, commit_index, member.shard.term, leads=True)

    def _after_tick(self, member: Member) -> None:
        assert member.shard is not None
        term, leads = member.shard.term, member.shard.role is Role.LEADER
        platter = self._platters[member.id]
        if term < platter.term:
            raise Violation(f"term: {member.id} is in term {term}, its disk in {platter.term}")
        if leads:
            self._check_leader(member, term, platter)
            self._check_contact(member, term)
            for link in member.shard.status().links:
                self._check_match(member, term, link.peer_id, link.match_index)
        self._check_commits(member, member.shard.commit_index, term, leads=leads)

    def _check_leader(self, member: Member, term: int, platter: _Platter) -> None:
        """Election Safety and Leader Completeness (Raft 5.2, 5.4)."""
        named = self._voters(member).get(member.id)
        if named not in ("", platter.incarnation):
            raise Violation(f"leader: {member.id} leads with a directory that the members do not name")
        if self._leaders.setdefault(term, member.id) != member.id:
            raise Violation(f"election safety: {self._leaders[term]} and {member.id} lead in term {term}")
        if self._led_since.get(member.id, (0, 0, 0.0))[:2] == (member.incarnation, term):
            return
        self._led_since[member.id] = (member.incarnation, term, self._world.now)
        self._world.note("leads", member.id, term)
        for index in range(max(platter.base, 2), self.last_committed + 1):
            if index in self.committed:
                entry_term, _, commit_term = self.committed[index]
                if commit_term < term and not platter.holds(index, entry_term):
                    raise Violation(
                        f"leader completeness: {member.id} leads in {term}, lacks {index}, committed in {commit_term}"
                    )

    def _check_contact(self, member: Member, term: int) -> None:
        """A leader that no majority answers does not go on for long (Raft dissertation 6.2)."""
        since = max(self._led_since[member.id][2], member.resumed_at)
        voters = self._voters(member)
        quorum = len(voters) // 2 + 1
        if member.announced is None or self._voters_since.get(member.id) != voters:
            # Who has just begun to count has its time to be heard.
            self._voters_since[member.id] = voters
            self._voters_at[member.id] = self._world.now
        since = max(since, self._voters_at[member.id])
        heard = [
            self._network.delivered_at.get((peer_id, member.id), 0.0) for peer_id in voters if peer_id != member.id
        ]
        contact = sorted((max(at, since) for at in heard), reverse=True)[quorum - 2] if quorum > 1 else 0
        if quorum > 1 and self._world.now - contact > self._no_contact_s:
            raise Violation(f"check quorum: {member.id} leads in {term}, no majority answered since {contact:.3f}")

    def _check_match(self, member: Member, term: int, peer_id: str, match_index: int) -> None:
        """What a leader counts on is on the follower's disk, as long as that one knows of no later leader."""
        if self._outdated.get((member.id, peer_id)) == match_index:
            return
        self._outdated.pop((member.id, peer_id), None)
        platter, own = self._platters[peer_id], self._platters[member.id]
        if platter.stale or (platter.incarnation and platter.incarnation != self._named(member).get(peer_id)):
            # It counts on a server that is no more.
            return
        if platter.term > term:
            return
        if match_index and match_index > platter.last:
            raise Violation(f"match index: {member.id} counts on {match_index} at {peer_id}, which has {platter.last}")
        if match_index in own.log and not platter.holds(match_index, own.log[match_index][0]):
            raise Violation(f"match index: {peer_id} has another entry at {match_index} than its leader {member.id}")

    def _check_commits(self, member: Member, commit_index: int, term: int, *, leads: bool) -> None:
        """All nodes commit the same, and what is committed is on the disks of a majority."""
        platter = self._platters[member.id]
        incarnation, seen = self._seen_commit[member.id]
        if incarnation == member.incarnation and commit_index < seen:
            raise Violation(f"commit index: that of {member.id} falls from {seen} to {commit_index}")
        for index in range(max(seen, platter.base) + 1, commit_index + 1):
            if index not in platter.log:
                raise Violation(f"commit index: {member.id} is at {commit_index} and does not have {index}")
            entry_term, data = platter.log[index]
            known = self.committed.setdefault(index, (entry_term, data, term))
            if known[:2] != (entry_term, data):
                raise Violation(f"state machine safety: {member.id} commits another entry at {index}")
            voters = self._voters(member) if leads else {}
            holders = sum(self._is_on_disk(node_id, named, index, entry_term) for node_id, named in voters.items())
            if leads and holders < len(voters) // 2 + 1:
                where = f"{holders} disks of the voters {', '.join(voters)}"
                raise Violation(f"durability: {member.id} commits {index}, which is on {where}")
            self.last_committed = max(self.last_committed, index)
        self._seen_commit[member.id] = (member.incarnation, commit_index)

    def _is_on_disk(self, node_id: str, incarnation: str, index: int, term: int) -> bool:
        """Whether the directory that the members name holds the entry."""
        platter = self._platters[node_id]
        if platter.stale or platter.incarnation not in ("", incarnation):
            # It may have acknowledged the entry in its last moment, as any server that then dies for ever.
            platter = self._graves.get((node_id, incarnation), _Platter())
        return platter.holds(index, term)

    def _voters(self, member: Member) -> dict[str, str]:
        """Those of its members that elect and commit, with their directories."""
        return {node_id: named for node_id, (named, votes) in self._members_of(member).items() if votes}

    def _named(self, member: Member) -> dict[str, str]:
        return {node_id: named for node_id, (named, _) in self._members_of(member).items()}

    def _members_of(self, member: Member) -> dict[str, tuple[str, bool]]:
        """Directory of each, and whether it votes, by what is on the disk of the node: in its log, or in its state."""
        configs = self._platters[member.id].configs
        row = None
        if member.disk.has_changed_members:
            with member.disk.read() as view:
                row = view.get(Table.META, b"members")
        index = 0 if row is None else int.from_bytes(row[:8], "big")
        if configs and max(configs) > index:
            row = bytes(8) + configs[max(configs)]
        if row is None:
            return self._first
        return {each.id: (each.incarnation, each.votes) for each in ShardMembers.FromString(row[8:]).members}

    def _on_apply(self, member: Member, index: int, command: bytes) -> None:
        """State Machine Safety; and no command twice or left out."""
        if self._applied.get(index, command) != command:
            raise Violation(f"state machine safety: {member.id} applies another command at {index}")
        incarnation, before = self._applied_to.get(member.id, (0, 0))
        if incarnation == member.incarnation and index <= before:
            raise Violation(f"apply: {member.id} applies {index} after {before}")
        self._applied_to[member.id] = (member.incarnation, index)
        # Whoever is the only voter applies before its disk has the entry, and tells nobody if that fails.
        self._applying.setdefault((member.id, member.incarnation), {})[index] = command

    def _on_send(self, member: Member, peer_id: str, message: Message, early: bool) -> None:
        """Sync before send: what a message says is on the sender's disk.

        Only the appends of a leader may be early, and then with entries of its own term alone.
        """
        platter = self._platters[member.id]
        if message.term > platter.term and platter.term + message.term:
            raise Violation(f"sync before send: {member.id} speaks of term {message.term}, its disk has {platter.term}")
        if early and not isinstance(message, AppendEntries):
            raise Violation(f"sync before send: {member.id} sends {message} before its commit")
        match message:
            case Vote(term, granted=True):
                self._check_vote(member, term, peer_id)
            case RequestVote(term):
                self._check_vote(member, term, member.id)
            case AppendEntries(entries=entries, commit_index=commit_index):
                if commit_index > self._seen_commit[member.id][1]:
                    self._check_before_commit(member, commit_index)
                for entry in entries:
                    if not platter.holds(entry.index, entry.term) and not (early and entry.term == message.term):
                        raise Violation(f"sync before send: {member.id} sends {entry.index}, which is not on its disk")
            case AppendReply(result=AppendResult.ACCEPTED, index=index):
                if index > platter.last:
                    raise Violation(f"acknowledged: {member.id} claims {index}, its disk has {platter.last}")

    def _check_vote(self, member: Member, term: int, candidate: str) -> None:
        platter = self._platters[member.id]
        if self._votes.setdefault((member.id, term), candidate) != candidate:
            raise Violation(f"vote: {member.id} votes for {candidate} and others in term {term}")
        if platter.term == term and platter.vote != candidate:
            raise Violation(f"sync before send: {member.id} votes for {candidate}, its disk says {platter.vote!r}")

    def on_leadership(self, member: Member, term: int | None) -> None:
        """Who is told that it leads has applied all that earlier leaders committed."""
        assert member.shard is not None
        if term is None:
            return
        applied = member.shard.status().applied_index
        missing = [i for i, (_, _, commit_term) in self.committed.items() if commit_term < term and i > applied]
        if missing:
            raise Violation(f"leadership: {member.id} is told of {term}, and has not applied {missing[0]}")
