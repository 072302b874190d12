"""The simulator's configuration: one TOML file, read once into a frozen value."""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from loadtests.prompts import read_prompts
from loadtests.simulator.answers import NO_REFERENCES, References, compile_references
from loadtests.simulator.draws import Latency
from loadtests.simulator.faults import Fault, Share
from loadtests.simulator.stats import IDS_KEPT, REQUESTS_KEPT
from loadtests.strict import read_toml

MODEL: Final = "simulated-partner"


class SimulatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the simulator serves; `references` is a prompts JSONL, relative to the configuration file.

    `ids_kept` and `requests_kept` bound what the control path can tell about single requests.
    """

    models: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = (MODEL,)
    seed: int = 0
    accuracy: Share = 0.99
    references: str | None = None
    require_key: str | None = None
    generic_tokens: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 24
    ids_kept: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = IDS_KEPT
    requests_kept: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = REQUESTS_KEPT
    latency: Latency = Latency()
    faults: tuple[Fault, ...] = ()


def read_config(path: Path) -> SimulatorConfig:
    """Read a configuration file; raises InvalidFileError."""
    config = read_toml(path, SimulatorConfig)
    if config.references is None:
        return config
    return msgspec.structs.replace(config, references=str(path.parent / Path(config.references).expanduser()))


def load_references(config: SimulatorConfig) -> References:
    """Read the references a configuration names; raises InvalidFileError."""
    if config.references is None:
        return NO_REFERENCES
    return compile_references(read_prompts(Path(config.references)))
