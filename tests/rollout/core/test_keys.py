"""The rules of keys, as tables over records and times."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core import keys
from rollout.core.errors import InvalidArgument, KeyRefused, RolloutError, UnknownKey
from rollout.core.keys import DAY_S, Because, KeyChange, KeyRecord, KeyScope

NOW_S = 1_000_000.0
WHY = Because("ann", "because", NOW_S)
FRESH = keys.digest("gp-fresh")
PLAIN, ADMIN = KeyScope(), KeyScope(roles=("admin",))


def record(name: str = "web", **changes: object) -> KeyRecord:
    made = KeyRecord(id=f"key_{name}", digest="ab" * 32, name=name, tenant="acme", created_at_s=NOW_S - 100.0)
    return replace(made, **changes)


def created(records: Sequence[KeyRecord] = (), scope: KeyScope = PLAIN, **options: object) -> KeyChange:
    return keys.create(records, ("acme", "web"), scope, FRESH, WHY, **options)


def test_a_digest_is_blake2b_and_names_the_key() -> None:
    assert len(bytes.fromhex(keys.digest("gp-a"))) == 32
    assert keys.digest("gp-a") != keys.digest("gp-b")
    assert keys.key_id(keys.digest("gp-a")) == "key_" + keys.digest("gp-a")[:12]


def test_a_created_key_has_what_was_asked_for_and_is_told_without_its_digest() -> None:
    scope = KeyScope(features=("draft",), priority="batch", requests_per_minute=60)
    change = created(scope=scope, expires_in_s=3_600.0)
    (new,) = change.written
    assert (new.tenant, new.name, new.client, new.features) == ("acme", "web", "acme/web", ("draft",))
    assert (new.priority, new.requests_per_minute, new.tokens_per_minute) == ("batch", 60, None)
    assert (new.created_at_s, new.expires_at_s) == (NOW_S, NOW_S + 3_600)
    assert (new.id, new.digest) == (keys.key_id(FRESH), FRESH)
    assert change.dropped == ()
    entry = change.entry
    assert (entry.actor, entry.reason, entry.at_s, entry.command) == ("ann", "because", NOW_S, "create")
    assert (entry.key_id, entry.client) == (new.id, "acme/web")
    assert entry.details["features"] == ["draft"]
    assert FRESH not in str(entry)


def test_defaults_are_left_out_of_what_is_stored() -> None:
    plain = msgspec.json.decode(msgspec.json.encode(record()))
    assert set(plain) == {"id", "digest", "name", "tenant", "created_at_s"}


@pytest.mark.parametrize(
    ("tenant", "name"),
    [("acme", ""), ("acme", "a b"), ("acme", "a\n"), ("acme", "x" * 65), ("acme", "é"), ("a/b", "web"), ("-a", "web")],
)
def test_names_are_bounded_and_plain(tenant: str, name: str) -> None:
    with pytest.raises(InvalidArgument, match="can't be made") as fault:
        keys.create([], (tenant, name), KeyScope(), FRESH, WHY)
    assert fault.value.hint


@pytest.mark.parametrize(
    "scope",
    [
        {"features": ()},
        {"features": ("a b",)},
        {"features": ("f",) * 1_001},
        {"roles": ("king",)},
        {"priority": "urgent"},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -1},
        {"concurrent_max": 1.5},
        {"budget_microusd_per_day": 10**15 + 1},
    ],
)
def test_a_scope_is_checked(scope: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match="can't be made"):
        created(scope=KeyScope(**scope))


@pytest.mark.parametrize("expires_in_s", [0.0, 59.9, -1.0, 3_651 * DAY_S, float("inf"), float("nan")])
def test_a_lifetime_is_bounded(expires_in_s: float) -> None:
    with pytest.raises(InvalidArgument, match="expires in"):
        created(expires_in_s=expires_in_s)


@pytest.mark.parametrize(
    ("others", "room"),
    [
        ([], True),
        ([record()], True),
        ([record(), record(id="key_2")], False),
        ([record(), record(id="key_2", revoked_at_s=1.0)], True),
        ([record(), record(id="key_2", expires_at_s=NOW_S)], True),
        ([record(), record(id="key_2", expires_at_s=NOW_S + 1)], False),
        ([record(), record(id="key_2", tenant="other")], True),
        ([record(), record(id="key_2", name="other")], True),
        ([record(id=keys.key_id(FRESH), name="other")], False),
    ],
)
def test_a_client_has_two_live_keys_at_most(others: list[KeyRecord], *, room: bool) -> None:
    if room:
        assert created(others).written
    else:
        with pytest.raises(KeyRefused) as fault:
            created(others)
        assert fault.value.hint


def test_live_keys_are_bounded() -> None:
    many = [record(id=f"key_{number}", name=f"n{number}") for number in range(keys.LIVE_MAX)]
    with pytest.raises(KeyRefused, match="10000 live keys"):
        created(many)
    assert created([replace(each, revoked_at_s=NOW_S) for each in many]).written


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({}, False),
        ({"revoked_at_s": NOW_S - 89 * DAY_S}, False),
        ({"revoked_at_s": NOW_S - 91 * DAY_S}, True),
        ({"expires_at_s": NOW_S - 91 * DAY_S}, True),
        ({"expires_at_s": NOW_S - 91 * DAY_S, "revoked_at_s": NOW_S}, True),
        ({"expires_at_s": NOW_S + DAY_S, "revoked_at_s": NOW_S - 91 * DAY_S}, True),
    ],
)
def test_the_long_dead_are_dropped(changes: dict[str, float], *, dropped: bool) -> None:
    old = record("old", **changes)
    expected = (old.id,) if dropped else ()
    assert created([old]).dropped == expected
    assert keys.rotate([old, record()], "key_web", FRESH, WHY).dropped == expected


def test_rotating_makes_a_second_key_like_the_first_which_then_expires() -> None:
    old = record(roles=("viewer",), features=("draft",), concurrent_max=3, last_used_at_s=5.0)
    change = keys.rotate([old], old.id, FRESH, WHY, overlap_s=60.0)
    new, ending = change.written
    assert ending == replace(old, expires_at_s=NOW_S + 60)
    assert new == replace(
        old, id=keys.key_id(FRESH), digest=FRESH, created_at_s=NOW_S, expires_at_s=None, last_used_at_s=None
    )
    assert (change.entry.command, change.entry.key_id) == ("rotate", new.id)
    assert (change.entry.details["replaces"], change.entry.details["old_expires_at_s"]) == (old.id, NOW_S + 60)
    assert keys.rotate([old], old.id, FRESH, WHY).written[1].expires_at_s == NOW_S + DAY_S


@pytest.mark.parametrize(
    ("old_expires_at_s", "asked", "new_expires_at_s", "ends_at_s"),
    [
        (None, None, None, NOW_S + DAY_S),
        (None, 600.0, NOW_S + 600, NOW_S + DAY_S),
        (NOW_S + 30, None, NOW_S + 130, NOW_S + 30),  # created 100 s ago to live 130 s
        (NOW_S + 9 * DAY_S, None, NOW_S + 9 * DAY_S + 100, NOW_S + DAY_S),
        (NOW_S + 30, 600.0, NOW_S + 600, NOW_S + 30),
        (NOW_S + 4_000 * DAY_S, None, NOW_S + keys.LIFETIME_MAX_S, NOW_S + DAY_S),
    ],
)
def test_the_successor_lives_as_long_as_the_first_was_meant_to(
    old_expires_at_s: float | None, asked: float | None, new_expires_at_s: float | None, ends_at_s: float
) -> None:
    old = record(expires_at_s=old_expires_at_s)
    new, ending = keys.rotate([old], old.id, FRESH, WHY, expires_in_s=asked).written
    assert (new.expires_at_s, ending.expires_at_s) == (new_expires_at_s, ends_at_s)


@pytest.mark.parametrize("overlap_s", [-1.0, 31 * DAY_S, float("nan"), float("inf")])
def test_an_overlap_is_bounded(overlap_s: float) -> None:
    with pytest.raises(InvalidArgument, match="overlap"):
        keys.rotate([record()], "key_web", FRESH, WHY, overlap_s=overlap_s)


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([record(revoked_at_s=1.0)], "is revoked"),
        ([record(expires_at_s=NOW_S)], "is expired"),
        ([record(), record(id="key_2")], "two live keys|2 live keys"),
    ],
)
def test_only_a_live_key_without_successor_is_rotated(records: list[KeyRecord], fault: str) -> None:
    with pytest.raises(KeyRefused, match=fault):
        keys.rotate(records, "key_web", FRESH, WHY, force=True)


def test_revoking_is_immediate_and_final() -> None:
    change = keys.revoke([record()], "key_web", WHY)
    assert change is not None
    (revoked,) = change.written
    assert revoked == replace(record(), revoked_at_s=NOW_S)
    assert not revoked.is_live(NOW_S)
    assert (change.entry.command, change.dropped) == ("revoke", ())
    assert keys.revoke([revoked], "key_web", WHY) is None
    assert keys.revoke([record(expires_at_s=1.0)], "key_web", WHY) is not None


def revoke(records: Sequence[KeyRecord], **options: bool) -> object:
    return keys.revoke(records, "key_web", WHY, **options)


def rotate_at_once(records: Sequence[KeyRecord], **options: bool) -> object:
    return keys.rotate(records, "key_web", FRESH, WHY, overlap_s=0.0, **options)


def rotate_to_a_short_one(records: Sequence[KeyRecord], **options: bool) -> object:
    return keys.rotate(records, "key_web", FRESH, WHY, expires_in_s=3_600.0, **options)


@pytest.mark.parametrize("act", [revoke, rotate_at_once, rotate_to_a_short_one])
@pytest.mark.parametrize(
    ("own_roles", "other", "allowed"),
    [
        (("viewer",), None, True),
        (("admin",), None, False),
        (("admin",), {"roles": ("operator",)}, False),
        (("admin",), {"roles": ("admin",)}, True),
        (("admin",), {"roles": ("admin",), "revoked_at_s": 1.0}, False),
        (("admin",), {"roles": ("admin",), "expires_at_s": NOW_S}, False),
        (("admin",), {"roles": ("admin",), "expires_at_s": NOW_S + keys.OVERLAP_MAX_S}, False),
        (("admin",), {"roles": ("admin",), "expires_at_s": NOW_S + keys.ADMIN_LASTING_S}, True),
    ],
)
def test_the_last_admin_key_goes_only_by_force(
    act: Callable[..., object], own_roles: tuple[str, ...], other: dict[str, object] | None, *, allowed: bool
) -> None:
    records = [record(roles=own_roles), *([] if other is None else [record("other", **other)])]
    if allowed:
        assert act(records)
    else:
        with pytest.raises(KeyRefused, match="last admin key") as fault:
            act(records)
        assert "--force" in fault.value.hint
    assert act(records, force=True)


def test_the_last_admin_key_may_be_rotated_with_time_to_try_the_new_one() -> None:
    new, ending = keys.rotate([record(roles=("admin",))], "key_web", FRESH, WHY, overlap_s=600.0).written
    assert new.roles == ("admin",)
    assert ending.expires_at_s == NOW_S + 600
    with pytest.raises(KeyRefused):  # the new one may be lost, and the old one is on its way out
        keys.revoke([new, ending], new.id, WHY)
    assert keys.revoke([new, ending], ending.id, WHY) is not None


@pytest.mark.parametrize("overlap_s", [2 * DAY_S, keys.OVERLAP_MAX_S])
def test_a_key_on_its_way_out_does_not_stand_in_for_its_successor(overlap_s: float) -> None:
    new, ending = keys.rotate([record(roles=("admin",))], "key_web", FRESH, WHY, overlap_s=overlap_s).written
    with pytest.raises(KeyRefused, match="last admin key"):
        keys.revoke([new, ending], new.id, WHY)


@pytest.mark.parametrize(
    ("own_end_s", "other_end_s", "allowed"),
    [(60.0, None, False), (60.0, 59.0, False), (60.0, 60.0, True), (60.0, 7_200.0, True), (-1.0, None, True)],
)
def test_a_short_lived_admin_key_needs_another_that_lives_as_long(
    own_end_s: float, other_end_s: float | None, *, allowed: bool
) -> None:
    records = [record(roles=("admin",), expires_at_s=NOW_S + own_end_s)]
    if other_end_s is not None:
        records.append(record("other", roles=("admin",), expires_at_s=NOW_S + other_end_s))
    if allowed:
        assert revoke(records)
    else:
        with pytest.raises(KeyRefused, match="last admin key"):
            revoke(records)


def test_a_short_lived_admin_key_may_be_rotated() -> None:
    old = record(roles=("admin",), expires_at_s=NOW_S + 3_600)
    new, _ = keys.rotate([old], old.id, FRESH, WHY).written
    assert new.expires_at_s == NOW_S + 3_700


def test_an_unknown_key_names_the_nearest_and_a_key_is_not_repeated() -> None:
    with pytest.raises(UnknownKey) as unknown:
        keys.find([record()], "key_wec")
    assert unknown.value.nearest == ("key_web",)
    assert "key_web" in unknown.value.hint
    with pytest.raises(UnknownKey) as nothing_known:
        keys.find([], "x" * 10_000)
    assert len(nothing_known.value.cause) < 200
    assert "keys list" in nothing_known.value.hint
    with pytest.raises(InvalidArgument) as secret:
        keys.find([record()], "gp-secret")
    assert "secret" not in secret.value.cause + secret.value.hint


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "live"),
        ({"expires_at_s": NOW_S + 1}, "live"),
        ({"expires_at_s": NOW_S}, "expired"),
        ({"revoked_at_s": NOW_S + 1}, "revoked"),
        ({"revoked_at_s": 1.0, "expires_at_s": 1.0}, "revoked"),
    ],
)
def test_the_state_of_a_key_in_a_word(changes: dict[str, float], word: str) -> None:
    assert keys.status(record(**changes), NOW_S) == word
    assert record(**changes).is_live(NOW_S) == (word == "live")


def test_the_first_key_is_told_of_by_the_gateway() -> None:
    entry = keys.first_entry(record(roles=("admin",)))
    assert (entry.actor, entry.command, entry.at_s, entry.details["roles"]) == (
        "gateway",
        "create",
        NOW_S - 100,
        ["admin"],
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "rotate", "revoke", "wait"]),
        st.sampled_from(["web", "job"]),
        st.integers(0, 5),
        st.booleans(),
        st.sampled_from([0.0, 600.0, DAY_S, 3 * DAY_S]),
    ),
    max_size=40,
)


@given(STEPS)
@example(
    [("rotate", "web", 0, False, 3 * DAY_S), ("revoke", "web", 1, False, 0.0), ("wait", "web", 0, False, 3 * DAY_S)]
)
def test_no_sequence_of_steps_breaks_the_rules(steps: list[tuple[str, str, int, bool, float]]) -> None:
    first = record("first", roles=("admin",))
    records, now_s = {first.id: first}, NOW_S
    for number, (step, name, which, admin, seconds) in enumerate(steps):
        now_s += seconds if step == "wait" else 1.0
        why, fresh = Because("ann", "r", now_s), keys.digest(str(number))
        present = list(records.values())
        chosen = present[which % len(present)].id
        change: KeyChange | None = None
        try:
            if step == "create":
                change = keys.create(present, ("t", name), ADMIN if admin else PLAIN, fresh, why)
            elif step == "rotate":
                change = keys.rotate(present, chosen, fresh, why, overlap_s=seconds)
            elif step == "revoke":
                change = keys.revoke(present, chosen, why)
        except RolloutError:
            continue
        revoked = {each.id for each in present if each.revoked_at_s is not None}
        if change is not None:
            records |= {each.id: each for each in change.written}
            records = {key: each for key, each in records.items() if key not in change.dropped}
        live = [each for each in records.values() if each.is_live(now_s)]
        assert all(sum(each.client == other.client for each in live) <= 2 for other in live)
        assert any("admin" in each.roles and each.is_live(now_s + DAY_S) for each in live)
        assert not revoked & {each.id for each in live}
