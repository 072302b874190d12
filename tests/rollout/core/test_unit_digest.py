from hypothesis import given
from hypothesis import strategies as st

from rollout.core.bucketing import bucketer
from rollout.core.model import BUCKETS, UnitKind
from rollout.core.unit_digest import digester

TEXT = st.text(max_size=80)


@given(TEXT, st.sampled_from(UnitKind), TEXT)
def test_a_digest_is_stable_and_fits_the_integers_of_every_store(salt: str, kind: UnitKind, unit: str) -> None:
    digest = digester(salt)(kind, unit)
    assert 0 < digest < 2**63
    assert digester(salt)(kind, unit) == digest


def test_salts_kinds_and_units_have_digests_of_their_own() -> None:
    digests = {
        digester(salt)(kind, f"c{number}") for salt in ("draft", "ask") for kind in UnitKind for number in range(500)
    }
    assert len(digests) == 2 * 4 * 500


def test_it_is_the_same_on_every_replica_and_in_every_release() -> None:
    assert digester("summarize")(UnitKind.CONVERSATION, "c-1") == 4284773752042856893


def test_a_choice_by_digest_says_nothing_of_the_arm() -> None:
    digest, draw = digester("summarize"), bucketer(3, "summarize")
    units = [f"c{number}" for number in range(8_000)]
    small = [draw(unit) < BUCKETS // 10 for unit in units if digest(UnitKind.CONVERSATION, unit) < 2**62]
    assert abs(len(small) - 4_000) < 250
    assert abs(sum(small) - 400) < 80
