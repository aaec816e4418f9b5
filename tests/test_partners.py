"""How a partner becomes one, what two administrators decide, and which keys are in force."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from descriptors import NOW, descriptor, identity, key, published
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.crypto.keys import ED25519, XWING
from bridge.errors import Rejected
from bridge.partners import (
    NO_HOURS,
    NO_TELEPHONE,
    Contact,
    Freshness,
    Grant,
    Partner,
    State,
    approve,
    coverages,
    discovered,
    freshness,
    identity_digest,
    message_keys,
    renewed,
    resume,
    revoke,
    sealing_key,
    suspend,
    trusted,
)
from bridge.registry import fingerprint_of

MASH = Grant("E07000110", "MASH")
POLICE = Grant("E23000032", "POLICE")
LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("telephone", "hours", "shown"),
    [
        ("01622 000000", "always", ("01622 000000", "always")),
        (NO_TELEPHONE, NO_HOURS, (None, None)),
        ("00000", "always", ("00000", "always")),
    ],
    ids=["given", "not given", "odd, but given"],
)
def test_a_number_that_was_never_given_is_not_shown_as_one(telephone: str, hours: str, shown: tuple[str | None, str | None]) -> None:
    contact = Contact("Duty desk", telephone, hours)
    assert (contact.number, contact.times) == shown


def kent() -> Partner:
    return discovered(descriptor(), b"document", ((b"k" * 8, ED25519, b"s"),), NOW)


def confirm(
    partner: Partner, admin: str, *grants: Grant, heard: str | None = None, now: datetime = NOW
) -> Partner:
    fingerprint = fingerprint_of(partner.descriptor)
    words = " ".join(fingerprint.words) if heard is None else heard
    return approve(partner, admin, words, grants or (MASH,), now, fingerprint.matches)


def active() -> Partner:
    return confirm(confirm(kent(), "Ann Archer"), "Bob Baker")


def refusal_of(act: Callable[[], Any]) -> str:
    with pytest.raises(Rejected) as refused:
        act()
    return refused.value.code


# ── two administrators ──


def test_one_administrator_makes_a_partner_pending_and_a_second_active() -> None:
    pending = confirm(kent(), "Ann Archer")
    assert (pending.state, pending.grants, coverages(pending)) == (State.PENDING, (), ())
    made = confirm(pending, "Bob Baker", now=LATER)
    assert (made.state, made.grants, made.state_at) == (State.ACTIVE, (MASH,), LATER)
    assert [a.admin for a in made.approvals] == ["Ann Archer", "Bob Baker"]
    assert [a.at for a in made.approvals] == [NOW, LATER]


def test_words_and_digits_confirm_alike() -> None:
    digits = " ".join(fingerprint_of(descriptor()).digits)
    assert confirm(confirm(kent(), "Ann", heard=digits), "Bob").state is State.ACTIVE


@pytest.mark.parametrize(
    "name", ["Ann Archer", "ann archer", "ANN  ARCHER ", "AnnArcher", "\u00a0Ann\tArcher", "\uff21nn Archer"]
)
def test_the_same_administrator_in_another_spelling_is_no_second_one(name: str) -> None:
    assert refusal_of(lambda: confirm(confirm(kent(), "Ann Archer"), name)) == "two-administrators"


def test_a_wrong_fingerprint_confirms_nothing() -> None:
    other = " ".join(fingerprint_of(descriptor("croydon-mash")).words)
    for heard in ("", "yes", other):
        assert refusal_of(lambda heard=heard: confirm(kent(), "Ann", heard=heard)) == "wrong-fingerprint"


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_an_approval_needs_a_name(name: str) -> None:
    assert refusal_of(lambda: confirm(kent(), name)) == "usage"


def test_an_approval_needs_grants() -> None:
    words = " ".join(fingerprint_of(descriptor()).words)
    assert refusal_of(lambda: approve(kent(), "Ann", words, (), NOW, lambda _: True)) == "usage"


def test_both_administrators_agree_on_the_same_grants_in_any_order() -> None:
    made = confirm(confirm(kent(), "Ann", MASH, POLICE), "Bob", POLICE, MASH, MASH)
    assert made.state is State.ACTIVE
    assert set(made.grants) == {MASH, POLICE}


def test_other_grants_than_the_first_administrator_s_activate_nothing() -> None:
    pending = confirm(kent(), "Ann", MASH)
    assert refusal_of(lambda: confirm(pending, "Bob", MASH, POLICE)) == "two-administrators"
    agreed = confirm(confirm(pending, "Ann", MASH, POLICE), "Bob", MASH, POLICE)
    assert set(agreed.grants) == {MASH, POLICE}


def test_a_word_given_for_other_identity_keys_does_not_count() -> None:
    pending = confirm(kent(), "Ann")
    turned = renewed(pending, descriptor(generation=2, seq=2), b"newer", ())
    still = confirm(turned, "Bob")
    assert still.state is State.PENDING
    assert confirm(still, "Ann").state is State.ACTIVE


def test_an_active_partner_s_grants_change_only_with_the_second_word() -> None:
    asked = confirm(active(), "Cat", MASH, POLICE)
    assert (asked.state, asked.grants) == (State.ACTIVE, (MASH,))
    assert len(asked.approvals) == 3
    changed = confirm(asked, "Ann Archer", POLICE, MASH, now=LATER)
    assert set(changed.grants) == {MASH, POLICE}
    assert changed.state_at == NOW


def test_old_words_never_serve_for_new_grants() -> None:
    asked = confirm(active(), "Cat", POLICE)
    assert refusal_of(lambda: confirm(asked, "cat", POLICE)) == "two-administrators"
    assert asked.grants == (MASH,)


def test_an_active_partner_is_not_approved_again_for_the_same() -> None:
    assert refusal_of(lambda: confirm(active(), "Cat")) == "wrong-state"


# ── states ──

STATES: dict[State, Callable[[], Partner]] = {
    State.DISCOVERED: kent,
    State.PENDING: lambda: confirm(kent(), "Ann"),
    State.ACTIVE: active,
    State.SUSPENDED: lambda: suspend(active(), NOW),
    State.REVOKED: lambda: revoke(active(), NOW),
}
ACTS: dict[str, Callable[[Partner], Partner]] = {
    "approve": lambda partner: confirm(partner, "Dan", POLICE),
    "suspend": lambda partner: suspend(partner, LATER),
    "resume": lambda partner: resume(partner, LATER),
    "revoke": lambda partner: revoke(partner, LATER),
}
OUTCOMES = {
    (State.DISCOVERED, "approve"): State.PENDING,
    (State.DISCOVERED, "revoke"): State.REVOKED,
    (State.PENDING, "approve"): "two-administrators",  # Dan wants other grants than Ann
    (State.PENDING, "revoke"): State.REVOKED,
    (State.ACTIVE, "approve"): State.ACTIVE,
    (State.ACTIVE, "suspend"): State.SUSPENDED,
    (State.ACTIVE, "revoke"): State.REVOKED,
    (State.SUSPENDED, "resume"): State.ACTIVE,
    (State.SUSPENDED, "revoke"): State.REVOKED,
    (State.REVOKED, "revoke"): State.REVOKED,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("act", ACTS)
def test_every_act_in_every_state_does_what_the_table_says(state: State, act: str) -> None:
    before = STATES[state]()
    assert before.state is state
    outcome = OUTCOMES.get((state, act), "wrong-state")
    if isinstance(outcome, State):
        assert ACTS[act](before).state is outcome
    else:
        assert refusal_of(lambda: ACTS[act](before)) == outcome


def test_suspending_and_resuming_keeps_the_grants_and_routes_nothing_in_between() -> None:
    suspended = suspend(active(), LATER)
    assert coverages(suspended) == ()
    assert coverages(resume(suspended, LATER)) == coverages(active())


def test_a_revoked_partner_keeps_its_descriptor_as_evidence_and_nothing_else() -> None:
    gone = revoke(active(), LATER)
    assert (gone.grants, gone.approvals, gone.state_at) == ((), (), LATER)
    assert gone.document == b"document"
    assert revoke(gone, LATER + timedelta(days=1)) is gone


class Trust(RuleBasedStateMachine):
    """Whatever is done in whatever order, nobody is active without two administrators for exactly its grants."""

    def __init__(self) -> None:
        super().__init__()
        self.partner = kent()
        self.words: set[tuple[str, frozenset[Grant]]] = set()
        self.revoked = False

    def attempt(self, act: Callable[[], Partner]) -> bool:
        try:
            self.partner = act()
        except Rejected:
            return False
        return True

    @rule(
        name=st.sampled_from(["Ann", "ann ", "Bob", "Cat"]), grants=st.sets(st.sampled_from([MASH, POLICE]))
    )
    def approve(self, name: str, grants: set[Grant]) -> None:
        def act() -> Partner:
            return approve(self.partner, name, "heard", list(grants), NOW, lambda _: True)

        if self.attempt(act):
            self.words.add((name.strip().lower(), frozenset(grants)))

    @rule()
    def suspend(self) -> None:
        self.attempt(lambda: suspend(self.partner, NOW))

    @rule()
    def resume(self) -> None:
        self.attempt(lambda: resume(self.partner, NOW))

    @rule()
    def renew(self) -> None:
        seq = self.partner.descriptor.seq + 1
        claims = descriptor(seq=seq, areas=("E07000110", "E23000032"), functions=("MASH", "POLICE"))
        self.partner = renewed(self.partner, claims, b"newer", ())

    @rule()
    def revoke(self) -> None:
        self.partner, self.revoked = revoke(self.partner, NOW), True

    @invariant()
    def active_means_two_names_for_these_grants(self) -> None:
        granted = frozenset(self.partner.grants)
        if granted:
            assert len({name for name, grants in self.words if grants == granted}) >= 2
        if self.partner.state in {State.ACTIVE, State.SUSPENDED}:
            assert granted
        if self.revoked:
            assert self.partner.state is State.REVOKED
            assert not granted


TestTrust = Trust.TestCase
TestTrust.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


# ── descriptors in time ──


def test_a_newer_descriptor_changes_neither_state_nor_grants() -> None:
    claims = descriptor(seq=2, areas=("E07000110", "E09000008"), functions=("MASH", "POLICE"))
    after = renewed(active(), claims, b"newer", ())
    assert (after.state, after.grants) == (State.ACTIVE, (MASH,))
    assert coverages(after) == (("kent-mash", "E07000110", "MASH", None, None),)
    with pytest.raises(ValueError, match="another node"):
        renewed(active(), descriptor("croydon-mash"), b"", ())


def test_coverages_carry_the_days_of_each_grant() -> None:
    handed_over = Grant("E07000110", "MASH", date(2026, 4, 1), date(2027, 4, 1))
    made = confirm(confirm(kent(), "Ann", handed_over), "Bob", handed_over)
    assert coverages(made) == (("kent-mash", "E07000110", "MASH", date(2026, 4, 1), date(2027, 4, 1)),)


@pytest.mark.parametrize("end", [date(2026, 4, 1), date(2026, 3, 1)])
def test_a_grant_ends_after_it_begins(end: date) -> None:
    with pytest.raises(ValueError, match="ends after"):
        Grant("E07000110", "MASH", date(2026, 4, 1), end)


EXPIRES = descriptor().expires
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOW, Freshness.FRESH),
        (EXPIRES - SECOND, Freshness.FRESH),
        (EXPIRES, Freshness.STALE),
        (EXPIRES + timedelta(days=14) - SECOND, Freshness.STALE),
        (EXPIRES + timedelta(days=14), Freshness.BLOCKED),
        (datetime(2200, 1, 1, tzinfo=UTC), Freshness.BLOCKED),
    ],
)
def test_a_descriptor_is_fresh_then_stale_for_14_days_then_blocked(
    now: datetime, expected: Freshness
) -> None:
    assert freshness(descriptor(), now) is expected
    assert trusted(active(), now) == (expected is not Freshness.BLOCKED)


@pytest.mark.parametrize("state", [s for s in State if s is not State.ACTIVE])
def test_only_an_active_partner_is_trusted(state: State) -> None:
    assert not trusted(STATES[state](), NOW)


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(-1, None), (0, "first"), (24, "first"), (25, "second"), (29, "second"), (54, "second"), (55, None)],
)
def test_the_newest_key_in_force_seals_and_none_when_there_is_none(now: int, expected: str | None) -> None:
    node = "kent-mash"
    first = published(key(XWING, node, "first"), day(0), day(30))
    second = published(key(XWING, node, "second"), day(25), day(55))
    for keys in ((first, second), (second, first)):
        found = sealing_key(descriptor(sealing_keys=keys), day(now))
        assert found == {"first": first, "second": second, None: None}[expected]


def test_message_keys_overlap_newest_first() -> None:
    node = "kent-mash"
    first = published(key(ED25519, node, "first"), day(0), day(30))
    second = published(key(ED25519, node, "second"), day(25), day(55))
    described = descriptor(message_keys=(first, second))
    found = {number: message_keys(described, day(number)) for number in (-1, 10, 27, 30, 55)}
    assert found == {-1: (), 10: (first,), 27: (second, first), 30: (second,), 55: ()}


def test_a_key_gives_back_its_bytes_and_only_its_bytes() -> None:
    made = identity("kent-mash")[0]
    assert published(made).raw == made.public


def test_the_identity_s_name_depends_on_its_keys_and_node_alone() -> None:
    described = descriptor()
    turned = descriptor(identity_keys=tuple(reversed(described.identity_keys)), seq=9, name="Other")
    assert identity_digest(described) == identity_digest(turned)
    assert identity_digest(described) != identity_digest(descriptor(generation=2))
    assert identity_digest(described) != identity_digest(
        msgspec.structs.replace(described, node_id="kent-police")
    )


def test_partners_and_descriptors_show_their_id_alone() -> None:
    assert repr(active()) == "Partner(kent-mash, active)"
    assert repr(descriptor()) == "Descriptor(kent-mash, 1)"
