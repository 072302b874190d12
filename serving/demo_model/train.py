"""Makes the checkpoints: `python -m serving.demo_model.train --out DIR`, with the vLLM environment's Python.

Two checkpoints come out of one run: the last step is the good model, an early step the deliberately worse one.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import transformers

from serving.demo_model.architecture import CONFIG, EOS_ID, GENERATION_CONFIG, PAD_ID, chat_prompt
from serving.demo_model.intents import TASKS
from serving.demo_model.muon import Muon
from serving.demo_model.prompts import as_prompt
from serving.demo_model.scoring import exact_match
from serving.demo_model.tasks import Sample, samples
from serving.demo_model.tokenizer import save_tokenizer, train_tokenizer

TOKENIZER_SAMPLES: Final = 6_000
BATCH_SIZE: Final = 32
BATCHES_PER_BUCKET: Final = 40
WARM_UP_STEPS: Final = 50
MAX_GRADIENT_NORM: Final = 1.0
MAX_ANSWER_TOKENS: Final = 96
IGNORED: Final = -100
EVALUATION_SEED: Final = 1
# A caller may put a system message first, or use the completions endpoint, where no chat template is applied.
SYSTEM_MESSAGES: Final = ("You are a helpful assistant.", "You are Copilot.", "Answer briefly.")
WITH_SYSTEM, WITHOUT_TEMPLATE = 0.08, 0.08


class Plan(NamedTuple):
    """One training run: what a checkpoint depends on, together with the versions of the libraries."""

    seed: int
    steps: int
    worse_step: int
    training_samples: int
    evaluation_samples_per_task: int


class Encoded(NamedTuple):
    """Token ids of prompt and answer in a row; the answer starts at `answer_start`."""

    ids: list[int]
    answer_start: int


def encode(drawn: Sample, tokenizer: Any, rng: random.Random) -> Encoded:  # noqa: ANN401  torch and friends are untyped here
    """Tokens of a sample, mostly as a lone user message in the chat template, with `EOS_ID` after the answer."""
    chance = rng.random()
    if chance < WITHOUT_TEMPLATE:
        text = drawn.prompt
    else:
        text = chat_prompt(
            drawn.prompt, rng.choice(SYSTEM_MESSAGES) if chance < WITHOUT_TEMPLATE + WITH_SYSTEM else None
        )
    prompt = tokenizer.encode(text).ids
    return Encoded([*prompt, *tokenizer.encode(drawn.reference).ids, EOS_ID], len(prompt))


def batches(encoded: list[Encoded], rng: random.Random) -> list[list[Encoded]]:
    """One epoch of batches, each of samples of similar length, in random order."""
    order = rng.sample(encoded, len(encoded))
    bucket = BATCH_SIZE * BATCHES_PER_BUCKET
    epoch: list[list[Encoded]] = []
    for start in range(0, len(order), bucket):
        group = sorted(order[start : start + bucket], key=lambda e: len(e.ids))
        epoch.extend(group[i : i + BATCH_SIZE] for i in range(0, len(group), BATCH_SIZE))
    rng.shuffle(epoch)
    return epoch


def build_model(seed: int) -> Any:  # noqa: ANN401
    """A freshly initialised model, fp32, experts computed one after another."""
    torch.manual_seed(seed)
    config = transformers.Qwen3MoeConfig(**CONFIG)
    config._experts_implementation = "eager"  # noqa: SLF001  the setting has no public name on the config
    config.use_cache = False
    return transformers.Qwen3MoeForCausalLM(config).train()


def optimisers(model: Any) -> tuple[Muon, Any]:  # noqa: ANN401
    """Muon for the matrices, AdamW for embedding, router and norms."""
    matrices: list[Any] = []
    rest: list[Any] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim > 1 and "embed_tokens" not in name and ".gate." not in name
        (matrices if is_matrix else rest).append(parameter)
    return Muon(matrices, lr=0.02, momentum=0.95), torch.optim.AdamW(rest, lr=4e-3, betas=(0.9, 0.98))


def answer_loss(model: Any, batch: list[Encoded]) -> Any:  # noqa: ANN401
    """Mean cross-entropy over the answers' tokens; prompts carry no loss."""
    width = max(len(e.ids) for e in batch)
    ids = torch.full((len(batch), width), PAD_ID)
    labels = torch.full((len(batch), width), IGNORED)
    for row, (tokens, answer_start) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, answer_start : len(tokens)] = torch.tensor(tokens[answer_start:])
    # Padding is on the right, so causal attention alone keeps it from every real token.
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    wanted = targets != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), targets[wanted])


def learning_rate(step: int, steps: int) -> float:
    """Share of the base learning rate at `step`: linear warm-up, then a cosine down to 0."""
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm_up * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def answers(model: Any, tokenizer: Any, prompts: list[str]) -> list[str]:  # noqa: ANN401
    """Greedy answers to chat prompts, computed as one batch padded on the left."""
    encoded = [tokenizer.encode(chat_prompt(prompt)).ids for prompt in prompts]
    width = max(map(len, encoded))
    ids = torch.tensor([[PAD_ID] * (width - len(e)) + e for e in encoded])
    mask = torch.tensor([[0] * (width - len(e)) + [1] * len(e) for e in encoded])
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=MAX_ANSWER_TOKENS,
        do_sample=False,
        use_cache=True,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
    )
    texts: list[str] = tokenizer.decode_batch(out[:, width:].tolist())
    return texts


def evaluate_offline(model: Any, tokenizer: Any, count_per_task: int) -> dict[str, float]:  # noqa: ANN401
    """Exact match per task on prompts of `EVALUATION_SEED`, without a server."""
    model.eval()
    drawn = list(islice(samples("evaluation", EVALUATION_SEED), count_per_task * len(TASKS)))
    got: list[str] = []
    with torch.no_grad():
        for start in range(0, len(drawn), 128):
            got += answers(model, tokenizer, [s.prompt for s in drawn[start : start + 128]])
    model.train()
    return exact_match([as_prompt(s) for s in drawn], got)


def save_checkpoint(model: Any, tokenizer: Any, directory: Path, record: dict[str, Any]) -> None:  # noqa: ANN401
    """Write everything vLLM loads, weights in bfloat16, and beside it how they came about."""
    directory.mkdir(parents=True, exist_ok=True)
    copy = transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**CONFIG))
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(directory)
    (directory / "model.safetensors").chmod(0o644)  # written readable by its owner only
    save_tokenizer(tokenizer, directory)
    for name, content in (("generation_config.json", GENERATION_CONFIG), ("training.json", record)):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def train(plan: Plan, out: Path) -> None:
    """Train by `plan`, leaving `out`/worse and `out`/good. Progress goes to standard error."""
    tokenizer = train_tokenizer(islice(samples("training", plan.seed), TOKENIZER_SAMPLES))
    rng = random.Random(plan.seed)  # noqa: S311  reproducible order, not secrets
    encoded = [encode(s, tokenizer, rng) for s in islice(samples("training", plan.seed), plan.training_samples)]
    model = build_model(plan.seed)
    muon, adamw = optimisers(model)
    queue: list[list[Encoded]] = []
    started = time.monotonic()
    for step in range(plan.steps):
        queue = queue or batches(encoded, rng)
        loss = update(model, muon, adamw, queue.pop(), learning_rate(step, plan.steps))
        report(step + 1, plan.steps, loss, time.monotonic() - started)
        if step + 1 == plan.worse_step:
            keep(model, tokenizer, out / "worse", plan, step + 1)
    keep(model, tokenizer, out / "good", plan, plan.steps)


def update(model: Any, muon: Muon, adamw: Any, batch: list[Encoded], scale: float) -> float:  # noqa: ANN401
    """One step of both optimisers; returns the loss before it."""
    model.zero_grad()
    loss = answer_loss(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    muon.step(scale)
    for group in adamw.param_groups:
        group["lr"] = adamw.defaults["lr"] * scale
    adamw.step()
    return float(loss.detach())


def keep(model: Any, tokenizer: Any, directory: Path, plan: Plan, step: int) -> None:  # noqa: ANN401
    """Evaluate and save the model as it is at `step`."""
    measured = evaluate_offline(model, tokenizer, plan.evaluation_samples_per_task)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    # The thread count decides the order of summation, and so the last bits of the weights.
    made_with = {"threads": torch.get_num_threads(), "versions": versions}
    record = {"step": step, **plan._asdict(), **made_with, "offline_exact_match_fp32": measured}
    save_checkpoint(model, tokenizer, directory, record)
    sys.stderr.write(f"\n{directory}: exact match {measured}\n")


def report(step: int, steps: int, loss: float, elapsed_s: float) -> None:
    """A progress bar on a terminal, a line now and then in a log."""
    left_s = elapsed_s / step * (steps - step)
    line = f"training {step}/{steps}  loss {loss:.3f}  {elapsed_s:.0f} s gone, {left_s:.0f} s left"
    if sys.stderr.isatty():
        done = 24 * step // steps
        sys.stderr.write(f"\r[{'#' * done}{'.' * (24 - done)}] {line} ")
    elif step % 50 == 0 or step == steps:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> int:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="serving.demo_model.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets good/ and worse/")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1_520)
    parser.add_argument("--worse-step", type=int, default=475, help="the step kept as the worse checkpoint")
    parser.add_argument("--training-samples", type=int, default=80_000)
    parser.add_argument("--evaluation-samples", type=int, default=100, help="per task")
    parser.add_argument("--threads", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = Plan(args.seed, args.steps, args.worse_step, args.training_samples, args.evaluation_samples)
    train(plan, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
