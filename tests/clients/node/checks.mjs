// Named checks of one client, run one after the other; the results go to stdout as JSON. Where the client talks to, and
// as whom, comes in by environment variables; faults are asked for in the prompt, which a gateway passes on.
import assert from "node:assert/strict";

export const { CLIENT_BASE_URL: BASE_URL, CLIENT_API_KEY: API_KEY, CLIENT_MODEL: MODEL } = process.env;
// Whether the simulator is spoken to directly: some faults are a gateway's to hide.
const DIRECT = process.env.CLIENT_DIRECT === "1";
const checks = [];
let faults = 0;

/** Register a check; it throws when the client does not do as expected. */
export function check(name, run) {
  checks.push({ name, run });
}

/** Register a check of what a gateway answers otherwise than its upstream. */
export function directOnly(name, run) {
  if (DIRECT) check(name, run);
}

/** A prompt that asks the simulator for a fault; each call's fault has a limit of its own. */
export function faulty(kind, figures = {}, prompt = "say something") {
  const fault = { kind, seed: process.pid * 1000 + faults++, ...figures };
  return `${prompt} [[fault:${JSON.stringify(fault)}]]`;
}

/** The error of that very class that `call` ends with. */
export async function rejected(kind, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.constructor.name, kind.name, error.stack);
    return error;
  }
  throw new assert.AssertionError({ message: `no ${kind.name}` });
}

/** Everything an async iterable yields. */
export async function all(iterable) {
  const found = [];
  for await (const each of iterable) found.push(each);
  return found;
}

/** Run all checks and write their results. */
export async function main() {
  const results = [];
  for (const { name, run } of checks) {
    let problem = null;
    try {
      await run();
    } catch (error) {
      problem = String(error?.stack ?? error);
    }
    results.push({ name, problem });
  }
  process.stdout.write(`${JSON.stringify({ results })}\n`, () => process.exit(0));
}
