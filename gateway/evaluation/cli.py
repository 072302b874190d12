"""`glidepath eval`: a prompt set through both arms, before the first percent of traffic."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.evaluation.asking import EvalArm
    from gateway.settings import Settings

_EXIT_CODES = {"passed": 0, "failed": 1, "undecided": 3}
_CONCURRENCY_MAX = 1_024
_ABOUT = (
    "Asks both models of a feature every prompt, scores and checks the answers, and writes report.md and "
    "report.json. Run again, it asks only what has no answer yet. Key: $GLIDEPATH_API_KEY, "
    "$GLIDEPATH_BOOTSTRAP_KEY, the file $GLIDEPATH_KEY_FILE, else the first key of the configuration's "
    "gateway. Exit code 0: the candidate is not worse by more than --max-drop; 1: it is; 3: too few prompts to "
    "tell; 2: the run could not be made."
)


def add_commands(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], find_key: Callable[[Path], str | None]
) -> None:
    """Register `eval`. `find_key`: the caller's API key, by the state folder of the gateway that is asked."""
    parser = subparsers.add_parser(
        "eval",
        help="run a prompt set through both arms and compare them, before the first percent of traffic",
        description=_ABOUT,
    )
    parser.add_argument(
        "prompts", type=Path, metavar="PROMPTS.jsonl", help='{"prompt" or "messages", "reference"?} a line'
    )
    parser.add_argument("--feature", help="whose two upstreams are asked")
    parser.add_argument("--candidate", metavar="UPSTREAM", help="instead of the feature's")
    parser.add_argument("--baseline", metavar="UPSTREAM", help="likewise")
    parser.add_argument(
        "--config", type=Path, default=Path("glidepath.toml"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--output", type=Path, default=Path("eval"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--base-url", metavar="URL", help="of the gateway's /v1 (default: as configured)")
    parser.add_argument("--direct", action="store_true", help="ask the upstreams themselves, without a gateway")
    parser.add_argument(
        "--scorer",
        default="exact",
        choices=["exact", "words", "contains", "json", "number"],
        help="default: %(default)s",
    )
    parser.add_argument(
        "--max-drop", type=_ratio, default=0.05, metavar="RATIO", help="of good answers (default: %(default)s)"
    )
    parser.add_argument(
        "--concurrency", type=_concurrency, default=8, metavar="N", help="requests at once (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, metavar="S", help="of one request (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature", type=_temperature, default=0.0, metavar="T", help='"none" sends none (default: %(default)s)'
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="of each answer")
    parser.add_argument(
        "--judge", metavar="NAME", help="of [judges.NAME]: has it compare the answers too, in both orders"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="the first N prompts only")
    parser.set_defaults(run=partial(_eval, find_key=find_key))


def _eval(args: argparse.Namespace, find_key: Callable[[Path], str | None]) -> int:
    from gateway.core.evaluation.report import headline
    from gateway.core.evaluation.scoring import Scorer
    from gateway.evaluation.judging import judge_of
    from gateway.evaluation.run import MARKDOWN_FILE, EvalPlan, evaluate
    from gateway.settings import load

    request: dict[str, Any] = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    settings = load(args.config)
    plan = EvalPlan(
        *_arms(args, settings, find_key),
        args.output,
        Scorer(args.scorer),
        args.max_drop,
        request,
        args.concurrency,
        args.timeout,
        args.limit,
        None if args.judge is None else judge_of(settings, args.judge),
    )
    report = evaluate(plan, args.prompts, _Progress())
    print(f"{headline(report)}\n{args.output / MARKDOWN_FILE}")
    return _EXIT_CODES[report.verdict]


def _arms(
    args: argparse.Namespace, settings: Settings, find_key: Callable[[Path], str | None]
) -> tuple[EvalArm, EvalArm]:
    from gateway.evaluation.arms import arms_of_feature, directly, through_gateway
    from gateway.settings import SettingsError, upstream_keys

    candidate, baseline = args.candidate, args.baseline
    if args.feature is not None:
        of_feature = arms_of_feature(settings, args.feature)
        candidate, baseline = candidate or of_feature[0], baseline or of_feature[1]
    if not candidate or not baseline:
        raise SettingsError("whom to compare?", "give --feature, or --candidate and --baseline")
    if args.direct:
        keys = upstream_keys(settings)
        return directly(settings, candidate, "candidate", keys), directly(settings, baseline, "baseline", keys)
    api_key = find_key(Path(settings.store.state_dir))
    return (
        through_gateway(settings, candidate, "candidate", args.base_url, api_key),
        through_gateway(settings, baseline, "baseline", args.base_url, api_key),
    )


class _Progress:
    """A line on stderr for every twentieth of the answers."""

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, had: int, wanted: int) -> None:
        step = 20 * had // wanted
        if step != self._shown:
            self._shown = step
            print(f"{had} of {wanted} answers", file=sys.stderr)


def _ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time")
    return value


def _concurrency(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _CONCURRENCY_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {_CONCURRENCY_MAX}")
    return value


def _temperature(text: str) -> float | None:
    return None if text == "none" else float(text)
