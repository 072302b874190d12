"""The declared stand-in for the partner: OpenAI's wire, seeded latency, quality and faults."""

from loadtests.simulator.config import MODEL, SimulatorConfig, read_config
from loadtests.simulator.draws import Latency
from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.server import RunningSimulator, run, start

__all__ = [
    "MODEL",
    "Fault",
    "FaultKind",
    "Latency",
    "RunningSimulator",
    "SimulatorConfig",
    "read_config",
    "run",
    "start",
]
