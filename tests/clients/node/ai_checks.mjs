// What the ai package promises whichever provider is behind it.
import assert from "node:assert/strict";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { all, check, faulty } from "./checks.mjs";

// They go to stdout, and tell of models that the package does not know.
globalThis.AI_SDK_LOG_WARNINGS = false;

const City = z.object({ name: z.string(), people: z.number().int() });
const quiet = { onError: () => {}, maxRetries: 0 };

/** Register the checks of one model. */
export function checkModel(name, model, { structured = true, toolCalls = true } = {}) {
  check(`${name}: text`, async () => {
    const { text, finishReason, usage } = await generateText({ model, prompt: "[[say:Grüße 🌍!]]", maxRetries: 0 });
    assert.equal(text, "Grüße 🌍!");
    assert.equal(finishReason, "stop");
    assert.ok(usage.outputTokens > 0);
  });

  check(`${name}: token limit`, async () => {
    const { finishReason } = await generateText({ model, prompt: "hello", maxOutputTokens: 2, maxRetries: 0 });
    assert.equal(finishReason, "length");
  });

  check(`${name}: stream`, async () => {
    const result = streamText({ model, prompt: "[[say:Grüße 🌍!]]", ...quiet });
    assert.equal((await all(result.textStream)).join(""), "Grüße 🌍!");
    assert.equal(await result.finishReason, "stop");
    assert.ok((await result.usage).inputTokens > 0);
  });

  check(`${name}: a cut stream is an error`, async () => {
    const { fullStream } = streamText({ model, prompt: faulty("cut_stream", { events: 5 }), ...quiet });
    // As a part or as an exception, depending on whether the cut came with the first bytes.
    const parts = await all(fullStream).catch(() => [{ type: "error" }]);
    assert.ok(parts.some((part) => part.type === "error"));
  });

  check(`${name}: an error event is an error`, async () => {
    const prompt = faulty("error_event", { events: 5, status: 500 });
    const parts = await all(streamText({ model, prompt, ...quiet }).fullStream);
    assert.ok(parts.some((part) => part.type === "error"));
  });

  check(`${name}: a call may be cancelled`, async () => {
    const abortSignal = AbortSignal.timeout(200);
    await assert.rejects(() => generateText({ model, prompt: faulty("black_hole"), abortSignal, maxRetries: 0 }));
  });

  if (toolCalls) checkTools(name, model);
  if (structured) checkStructured(name, model);
}

function checkTools(name, model) {
  const weather = (asked) =>
    tool({
      description: "Weather of a city",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => asked.push(city) && "22 degrees",
    });

  check(`${name}: tools`, async () => {
    const asked = [];
    const { text, steps } = await generateText({
      model,
      prompt: "call get_weather",
      tools: { get_weather: weather(asked) },
      stopWhen: stepCountIs(3),
      maxRetries: 0,
    });
    assert.deepEqual(asked, ["simulated"]);
    assert.equal(steps.length, 2);
    assert.match(text, /22 degrees/);
  });

  check(`${name}: tools streamed`, async () => {
    const asked = [];
    const tools = { get_weather: weather(asked) };
    const result = streamText({ model, prompt: "call get_weather", tools, stopWhen: stepCountIs(3), ...quiet });
    assert.match((await all(result.textStream)).join(""), /22 degrees/);
    assert.deepEqual(asked, ["simulated"]);
  });
}

function checkStructured(name, model) {
  check(`${name}: structured output`, async () => {
    const output = Output.object({ schema: City });
    const result = await generateText({ model, output, prompt: "a city", maxRetries: 0 });
    assert.deepEqual(result.output, { name: "simulated", people: 1 });
  });

  check(`${name}: structured output streamed`, async () => {
    const output = Output.object({ schema: City });
    const result = streamText({ model, output, prompt: "a city", ...quiet });
    await all(result.partialOutputStream);
    assert.deepEqual(await result.output, { name: "simulated", people: 1 });
  });
}
