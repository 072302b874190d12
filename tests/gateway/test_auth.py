import pytest
from msgspec.structs import replace

from gateway.auth import ROLES, Keyring, digest, first_key_record, new_key
from gateway.core.errors import ApiError
from rollout.ports import KeyRecord

NOW_S = 1_000.0


def record(key: str, **changes: object) -> KeyRecord:
    return replace(first_key_record(key, 0.0, name="n"), **changes)


def keyring(*records: KeyRecord) -> Keyring:
    ring = Keyring()
    ring.replace(records)
    return ring


def refused(ring: Keyring, authorization: bytes | None, now_s: float = NOW_S) -> bool:
    with pytest.raises(ApiError) as caught:
        ring.find(authorization, now_s)
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
    principal = keyring(first_key_record("k", 5.0, name="dev")).find(b"Bearer k", NOW_S)
    assert (principal.name, principal.tenant, principal.features) == ("dev", "default", None)
    assert principal.roles == set(ROLES)
    assert principal.model_bypass


@pytest.mark.parametrize("authorization", [b"Bearer k", b"bearer k", b"BEARER  k ", b"Bearer k\t"])
def test_the_scheme_in_any_case_and_space_around_the_key(authorization: bytes) -> None:
    assert keyring(record("k")).find(authorization, NOW_S).tenant == "default"


@pytest.mark.parametrize(
    "authorization", [None, b"", b"Bearer", b"Bearer ", b"k", b"Basic k", b"Bearer K", b"Bearer k k", b"Bearer \xff"]
)
def test_anything_else_is_a_401(authorization: bytes | None) -> None:
    assert refused(keyring(record("k")), authorization)


def test_an_empty_keyring_knows_nobody() -> None:
    assert len(keyring()) == 0
    assert refused(keyring(), b"Bearer k")


def test_a_key_has_its_own_features_tenant_and_roles() -> None:
    own = record("k", features=("draft", "rewrite"), tenant="acme", roles=("viewer",), model_bypass=False)
    principal = keyring(own, record("other", id="key_2")).find(b"Bearer k", NOW_S)
    assert (principal.features, principal.tenant, principal.roles) == ({"draft", "rewrite"}, "acme", {"viewer"})
    assert not principal.model_bypass


def test_a_revoked_key_is_unknown() -> None:
    ring = keyring(record("k", revoked_at_s=1.0))
    assert len(ring) == 0
    assert refused(ring, b"Bearer k")


@pytest.mark.parametrize(("expires_at_s", "good"), [(None, True), (NOW_S + 1, True), (NOW_S, False), (1.0, False)])
def test_a_key_expires(expires_at_s: float | None, *, good: bool) -> None:
    ring = keyring(record("k", expires_at_s=expires_at_s))
    if good:
        assert ring.find(b"Bearer k", NOW_S)
    else:
        assert refused(ring, b"Bearer k")


def test_a_key_that_expired_at_the_beginning_of_time_is_expired() -> None:
    assert refused(keyring(record("k", expires_at_s=0.0)), b"Bearer k")


def test_the_keys_are_replaced_whole() -> None:
    ring = keyring(record("old"))
    ring.replace([record("new")])
    assert ring.find(b"Bearer new", NOW_S)
    assert refused(ring, b"Bearer old")
