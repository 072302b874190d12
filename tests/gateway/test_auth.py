import pytest
from msgspec.structs import replace

from gateway.auth import ROLES, Keyring, first_key_record, new_key
from gateway.core.errors import ApiError
from rollout.core.keys import KeyRecord, digest

NOW_S = 1_000.0


def record(key: str, **changes: object) -> KeyRecord:
    return replace(first_key_record(key, 0.0, name="n"), **changes)


def keyring(*records: KeyRecord) -> Keyring:
    ring = Keyring()
    ring.replace(records)
    return ring


def bearer(key: bytes) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + key}


def refused(ring: Keyring, headers: dict[bytes, bytes], now_s: float = NOW_S) -> bool:
    with pytest.raises(ApiError) as caught:
        ring.find(headers, now_s)
    return (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_made_keys_differ_are_long_and_recognisable() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("gp-") and len(key) >= 46 and key.isascii() for key in keys)


def test_what_is_stored_is_not_the_key() -> None:
    stored = first_key_record("gp-secret", 5.0, name="bootstrap")
    assert "gp-secret" not in str(stored)
    assert len(bytes.fromhex(stored.digest)) == 32
    assert digest("gp-secret") == stored.digest != digest("gp-secreu")


def test_the_first_key_may_do_all() -> None:
    principal = keyring(first_key_record("k", 5.0, name="dev")).find(bearer(b"k"), NOW_S)
    assert (principal.name, principal.tenant, principal.features) == ("dev", "default", None)
    assert principal.roles == set(ROLES)
    assert principal.model_bypass


@pytest.mark.parametrize("authorization", [b"Bearer k", b"bearer k", b"BEARER  k ", b"Bearer k\t"])
def test_the_scheme_in_any_case_and_space_around_the_key(authorization: bytes) -> None:
    assert keyring(record("k")).find({b"authorization": authorization}, NOW_S).tenant == "default"


@pytest.mark.parametrize(
    "authorization", [b"", b"Bearer", b"Bearer ", b"k", b"Basic k", b"Bearer K", b"Bearer k k", b"Bearer \xff"]
)
def test_anything_else_is_a_401(authorization: bytes) -> None:
    assert refused(keyring(record("k")), {b"authorization": authorization})
    assert refused(keyring(record("k")), {b"host": b"h"})


@pytest.mark.parametrize("name", [b"x-api-key", b"api-key"])
def test_the_headers_of_other_sdks(name: bytes) -> None:
    assert keyring(record("k")).find({name: b"k"}, NOW_S).tenant == "default"
    assert refused(keyring(record("k")), {name: b"Bearer k"})


def test_two_headers_that_disagree_are_no_key_even_if_both_are_good() -> None:
    ring = keyring(record("k"), record("j", id="key_2"))
    assert ring.find({**bearer(b"k"), b"x-api-key": b"k"}, NOW_S)
    assert refused(ring, {**bearer(b"k"), b"x-api-key": b"j"})
    assert refused(ring, {b"api-key": b"k", b"x-api-key": b"wrong"})


def test_an_empty_keyring_knows_nobody() -> None:
    assert len(keyring()) == 0
    assert refused(keyring(), bearer(b"k"))


def test_a_key_has_its_own_features_tenant_and_roles() -> None:
    own = record("k", features=("draft", "rewrite"), tenant="acme", roles=("viewer",), model_bypass=False)
    principal = keyring(own, record("other", id="key_2")).find(bearer(b"k"), NOW_S)
    assert (principal.features, principal.tenant, principal.roles) == ({"draft", "rewrite"}, "acme", {"viewer"})
    assert not principal.model_bypass


def test_a_revoked_key_is_unknown() -> None:
    ring = keyring(record("k", revoked_at_s=1.0))
    assert len(ring) == 0
    assert refused(ring, bearer(b"k"))


@pytest.mark.parametrize(("expires_at_s", "good"), [(None, True), (NOW_S + 1, True), (NOW_S, False), (1.0, False)])
def test_a_key_expires(expires_at_s: float | None, *, good: bool) -> None:
    ring = keyring(record("k", expires_at_s=expires_at_s))
    if good:
        assert ring.find(bearer(b"k"), NOW_S)
    else:
        assert refused(ring, bearer(b"k"))


def test_a_key_that_expired_at_the_beginning_of_time_is_expired() -> None:
    assert refused(keyring(record("k", expires_at_s=0.0)), bearer(b"k"))


def test_the_keys_are_replaced_whole() -> None:
    ring = keyring(record("old"))
    ring.replace([record("new")])
    assert ring.find(bearer(b"new"), NOW_S)
    assert refused(ring, bearer(b"old"))


def test_limits_and_priority_come_with_the_caller() -> None:
    limits = {
        "requests_per_minute": 60,
        "tokens_per_minute": 1_000,
        "concurrent_max": 4,
        "budget_microusd_per_day": 5_000_000,
    }
    principal = keyring(record("k", priority="batch", **limits)).find(bearer(b"k"), NOW_S)
    assert principal.priority == "batch"
    assert {name: getattr(principal, name) for name in limits} == limits
    unlimited = keyring(record("k")).find(bearer(b"k"), NOW_S)
    assert (unlimited.priority, unlimited.requests_per_minute, unlimited.concurrent_max) == ("interactive", None, None)


def test_uses_are_handed_over_once_with_the_last_time() -> None:
    ring = keyring(record("k", id="key_1"), record("j", id="key_2", expires_at_s=NOW_S))
    for now_s in (NOW_S, NOW_S + 2):
        ring.find(bearer(b"k"), now_s)
    assert refused(ring, bearer(b"j"))
    assert refused(ring, bearer(b"stranger"))
    assert ring.take_uses() == {"key_1": NOW_S + 2}
    assert ring.take_uses() == {}
