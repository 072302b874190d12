// The Responses API with the official openai package.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { all, API_KEY, BASE_URL, check, faulty, main, MODEL, rejected } from "./checks.mjs";

const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0, timeout: 30_000 });
const City = z.object({ name: z.string(), people: z.number().int() });
const weather = {
  type: "function",
  name: "get_weather",
  strict: true,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};

check("plain", async () => {
  const answer = await client.responses.create({ model: MODEL, input: "[[say:Grüße 🌍!]]" });
  assert.equal(answer.output_text, "Grüße 🌍!");
  assert.equal(answer.status, "completed");
});

check("stream in the official order", async () => {
  const events = await all(await client.responses.create({ model: MODEL, input: "[[say:one two]]", stream: true }));
  assert.deepEqual(
    events.map((event) => event.type.replace("response.", "")),
    ["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
      "output_text.done", "content_part.done", "output_item.done", "completed"],
  );
  assert.deepEqual(events.map((event) => event.sequence_number), [...Array(10).keys()]);
});

check("stream helper", async () => {
  const stream = client.responses.stream({ model: MODEL, input: "[[say:one two]]" });
  const deltas = [];
  stream.on("response.output_text.delta", (event) => deltas.push(event.delta));
  const final = await stream.finalResponse();
  assert.equal(deltas.join(""), "one two");
  assert.equal(final.output_text, "one two");
});

check("tools", async () => {
  const first = await client.responses.create({ model: MODEL, input: "call get_weather", tools: [weather] });
  const [call] = first.output;
  assert.deepEqual(JSON.parse(call.arguments), { city: "simulated" });
  const result = { type: "function_call_output", call_id: call.call_id, output: "22 degrees" };
  const second = await client.responses.create({ model: MODEL, input: [result], previous_response_id: first.id });
  assert.match(second.output_text, /22 degrees/);
});

check("tools streamed", async () => {
  const final = await client.responses
    .stream({ model: MODEL, input: "call get_weather", tools: [weather] })
    .finalResponse();
  assert.equal(final.output[0].type, "function_call");
  assert.deepEqual(JSON.parse(final.output[0].arguments), { city: "simulated" });
});

check("structured output", async () => {
  const text = { format: zodTextFormat(City, "city") };
  const answer = await client.responses.parse({ model: MODEL, input: "a city", text });
  assert.deepEqual(answer.output_parsed, { name: "simulated", people: 1 });
});

check("a conversation goes on", async () => {
  const first = await client.responses.create({ model: MODEL, input: "hello" });
  const second = await client.responses.create({ model: MODEL, input: "more", previous_response_id: first.id });
  assert.equal(second.previous_response_id, first.id);
  const unknown = { model: MODEL, input: "more", previous_response_id: "resp_unknown" };
  await rejected(OpenAI.BadRequestError, () => client.responses.create(unknown));
});

check("a cut stream is no success", async () => {
  const input = faulty("cut_stream", { events: 5 });
  const stream = await client.responses.create({ model: MODEL, input, stream: true });
  let events = [];
  try {
    events = await all(stream);
  } catch {
    return;
  }
  assert.equal(events.at(-1).type, "error");
});

await main();
