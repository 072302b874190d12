from gateway.core.evaluation.answers import EvalAnswer
from gateway.core.evaluation.gpu_time import GpuTime, gpu_time
from rollout.core.cost import PICOUSD, Gpus

ANSWERS = [EvalAnswer("k", "candidate", duration_s=900.0), EvalAnswer("l", "baseline", duration_s=2_700.0)]


def test_a_fleet_is_paid_for_the_whole_run() -> None:
    found = gpu_time(ANSWERS, 2, Gpus(8, 2_500_000), Gpus())
    assert found == GpuTime(1_800.0, 10 * PICOUSD, None)
    assert found.known


def test_without_prices_there_is_nothing_to_tell() -> None:
    found = gpu_time([], 8, Gpus(), Gpus(4, 0))
    assert found == GpuTime(0.0, None, None)
    assert not found.known
