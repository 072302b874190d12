"""Official clients, each in an environment of its own made from its lock file, and what they are pointed at.

Environments are kept in the user's cache folder under a name that changes with the lock file. On a machine without
network a client that isn't there yet is skipped, with the reason; with `CI=true` that is a failure.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import httpx2
import pytest

FOLDER = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glidepath" / "clients"
KEY = "gp-clients-test"
INSTANT = ("--ttft-median-s", "0", "--inter-token-median-s", "0")
INSTALL_LIMIT_S = 600
RUN_LIMIT_S = 180


class Target(NamedTuple):
    """Where a client is pointed at. `direct` when that is the simulator itself."""

    base_url: str
    api_key: str
    model: str
    direct: bool


class Client(NamedTuple):
    """One official client: its lock file's folder and how its scripts are run."""

    language: str
    name: str


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time makes an environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(client: Client) -> Path:
    """The client's environment, made if it isn't there; skips or fails when it cannot be made."""
    files = {
        "python": [FOLDER / "python" / f"{client.name}.lock"],
        "node": [FOLDER / "node" / client.name / name for name in ("package.json", "package-lock.json")],
    }[client.language]
    interpreter = sys.version if client.language == "python" else version_of_node()
    digest = hashlib.sha256(b"\0".join([interpreter.encode(), *(path.read_bytes() for path in files)]))
    home = CACHE / f"{client.language}-{client.name}-{platform.machine()}-{digest.hexdigest()[:16]}"
    with locked(home.with_suffix(".lock")):
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            install(client, home, files)
            (home / "complete").touch()
    return home


def version_of_node() -> str:
    if shutil.which("node") is None or shutil.which("npm") is None:
        unavailable("node and npm are not installed: their clients are not tested")
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout


def install(client: Client, home: Path, files: list[Path]) -> None:
    if client.language == "python":
        step(client, [sys.executable, "-m", "venv", str(home)], home)
        pip = [str(home / "bin/python"), "-m", "pip", "install", "-q", "--retries", "1", "--require-hashes"]
        step(client, [*pip, "-r", str(files[0])], home)
        return
    for path in files:
        shutil.copy(path, home)
    step(client, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"], home)


def step(client: Client, argv: list[str], home: Path) -> None:
    try:
        subprocess.run(argv, cwd=home, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(home, ignore_errors=True)
        said = str(error.stderr or "").strip()[-600:]
        unavailable(f"the client {client.language}/{client.name} cannot be installed ({argv[0]}): {said}")


@pytest.fixture(scope="session")
def run_client() -> Callable[[str, str, str, Target], dict[str, str | None]]:
    """Run one of a client's scripts against a target; what was checked, and what went wrong."""
    homes: dict[Client, Path] = {}

    def run(language: str, name: str, script: str, target: Target) -> dict[str, str | None]:
        client = Client(language, name)
        home = homes.get(client) or homes.setdefault(client, environment(client))
        variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        variables |= {
            "CLIENT_BASE_URL": target.base_url,
            "CLIENT_API_KEY": target.api_key,
            "CLIENT_MODEL": target.model,
            "CLIENT_DIRECT": "1" if target.direct else "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # A module finds its packages in the folders above it, so the scripts of node are run below its environment.
        with tempfile.TemporaryDirectory(dir=home, prefix="run-") as folder:
            shutil.copytree(FOLDER / client.language, folder, dirs_exist_ok=True)
            program = str(home / "bin/python") if client.language == "python" else "node"
            done = subprocess.run(
                [program, str(Path(folder) / script)],
                cwd=folder, env=variables, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {result["name"]: result["problem"] for result in json.loads(done.stdout)["results"]}

    return run


@pytest.fixture(scope="module")
def simulator(module_command) -> Target:
    options = ("--require-key-env", "SIMULATOR_KEY")
    process = module_command("simulator", "--port", "0", "--model", "a-model", *INSTANT, *options, SIMULATOR_KEY=KEY)
    return Target(process.shown(r"READY (http://\S+)")[1], KEY, "a-model", direct=True)


CONFIG = """
[server]
port = 0
[admin]
port = 0
[store]
url = "sqlite:///{kind}/glidepath.db"
state_dir = "{kind}"
[upstreams.inhouse]
kind = "vllm"
base_urls = ["{candidate}"]
model = "candidate-sim"
[upstreams.partner]
kind = "{kind}"
base_urls = ["{baseline}"]
model = "baseline-sim"
[features.summarize]
candidate = "inhouse"
baseline = "partner"
"""


@pytest.fixture(scope="module")
def gateway_with(module_command, module_folder: Path) -> Callable[[str], tuple[str, str]]:
    """The gateway between two simulators, by the kind of its baseline; its two URLs."""
    running: dict[str, tuple[str, str]] = {}

    def start(kind: str) -> tuple[str, str]:
        if kind not in running:
            candidate, baseline = (
                module_command("simulator", "--port", "0", "--model", f"{arm}-sim", *INSTANT).shown(
                    r"READY (http://\S+)"
                )[1]
                for arm in ("candidate", "baseline")
            )
            file = module_folder / f"{kind}.toml"
            file.write_text(CONFIG.format(candidate=candidate, baseline=baseline, kind=kind))
            process = module_command("gateway", "--config", file.name, GLIDEPATH_BOOTSTRAP_KEY=KEY)
            url, admin_url = process.shown(r"gateway (http://\S+)/v1  operator (http://\S+)").groups()
            running[kind] = url, admin_url
        return running[kind]

    return start


@pytest.fixture(scope="module")
def target_of(request: pytest.FixtureRequest) -> Callable[[str], Target]:
    """A target by name: `simulator`, or the gateway with everybody on one arm.

    That is `candidate` (vLLM), `baseline` (OpenAI), or `anthropic`: a baseline of that kind.
    """

    def find(name: str) -> Target:
        if name == "simulator":
            return request.getfixturevalue("simulator")
        url, admin_url = request.getfixturevalue("gateway_with")("anthropic" if name == "anthropic" else "openai")
        share = 100_000 if name == "candidate" else 0
        headers = {"authorization": f"Bearer {KEY}"}
        place = f"{admin_url}/api/v1/features/summarize"
        with httpx2.Client(headers=headers, timeout=30, trust_env=False) as operator:
            revision = operator.get(place).headers["etag"]
            body = {"share_millipct": share, "reason": "clients test"}
            answer = operator.put(f"{place}/share", json=body, headers={"if-match": revision})
            assert answer.status_code == 200, answer.text
        return Target(f"{url}/v1", KEY, "copilot/summarize", direct=False)

    return find
