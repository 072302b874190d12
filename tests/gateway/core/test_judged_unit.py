from gateway.core.judged_unit import Judged
from gateway.core.unit_places import place_of
from rollout.core.claims import Claim
from tests.gateway.core.test_unit_places import FLAG


def test_a_claim_is_for_the_draw_of_its_place() -> None:
    place = place_of(FLAG)
    judged = Judged(place, 1_010.0, 7, True, 1.0, (1.0,))
    assert judged.claim == Claim("draft", place.draw, 7)
