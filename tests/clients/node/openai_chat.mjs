// Chat completions, text completions and models with the official openai package.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { all, API_KEY, BASE_URL, check, main, MODEL } from "./checks.mjs";

const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0, timeout: 30_000 });
const user = (content) => ({ model: MODEL, messages: [{ role: "user", content }] });
const City = z.object({ name: z.string(), people: z.number().int() });
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const weather = { type: "function", function: { name: "get_weather", strict: true, parameters } };

check("plain", async () => {
  const answer = await client.chat.completions.create(user("[[say:Grüße 🌍!]]"));
  assert.equal(answer.choices[0].message.content, "Grüße 🌍!");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.total_tokens > 0);
});

check("stream", async () => {
  const chunks = await all(await client.chat.completions.create({ ...user("[[say:Grüße 🌍!]]"), stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "Grüße 🌍!");
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
});

check("stream with usage", async () => {
  const asked = { ...user("hello"), stream: true, stream_options: { include_usage: true } };
  const chunks = await all(await client.chat.completions.create(asked));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

check("stream helper", async () => {
  const stream = client.chat.completions.stream(user("[[say:one two]]"));
  const deltas = [];
  stream.on("content", (delta) => deltas.push(delta));
  const final = await stream.finalChatCompletion();
  assert.equal(deltas.join(""), "one two");
  assert.equal(final.choices[0].message.content, "one two");
});

check("tools", async () => {
  const first = await client.chat.completions.create({ ...user("call get_weather"), tools: [weather] });
  const [call] = first.choices[0].message.tool_calls;
  assert.equal(first.choices[0].finish_reason, "tool_calls");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "simulated" });
  const result = { role: "tool", tool_call_id: call.id, content: "22 degrees" };
  const messages = [...user("call get_weather").messages, first.choices[0].message, result];
  const second = await client.chat.completions.create({ model: MODEL, messages, tools: [weather] });
  assert.match(second.choices[0].message.content, /22 degrees/);
});

for (const stream of [false, true]) {
  check(`tools run by the package, stream ${stream}`, async () => {
    const asked = [];
    const run = (city) => asked.push(city) && "22 degrees";
    const tool = { type: "function", function: { name: "get_weather", parse: JSON.parse, function: run, parameters } };
    const runner = client.chat.completions.runTools({ ...user("call get_weather"), tools: [tool], stream });
    assert.match(await runner.finalContent(), /22 degrees/);
    assert.deepEqual(asked, [{ city: "simulated" }]);
  });
}

check("structured output", async () => {
  const response_format = zodResponseFormat(City, "city");
  const answer = await client.chat.completions.parse({ ...user("a city"), response_format });
  assert.deepEqual(answer.choices[0].message.parsed, { name: "simulated", people: 1 });
});

check("structured output streamed", async () => {
  const response_format = zodResponseFormat(City, "city");
  const final = await client.chat.completions.stream({ ...user("a city"), response_format }).finalChatCompletion();
  assert.deepEqual(final.choices[0].message.parsed, { name: "simulated", people: 1 });
});

check("several choices and logprobs", async () => {
  const answer = await client.chat.completions.create({ ...user("[[say:one two]]"), n: 2, logprobs: true });
  assert.equal(answer.choices.length, 2);
  assert.equal(answer.choices[1].logprobs.content.map((each) => each.token).join(""), "one two");
});

check("raw response", async () => {
  const { data, response, request_id } = await client.chat.completions.create(user("hello")).withResponse();
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(request_id, response.headers.get("x-request-id"));
  assert.equal(data._request_id, request_id);
});

check("text completion", async () => {
  const answer = await client.completions.create({ model: MODEL, prompt: "[[say:one two]]" });
  assert.equal(answer.choices[0].text, "one two");
  const stream = await client.completions.create({ model: MODEL, prompt: "[[say:one two]]", stream: true });
  assert.equal((await all(stream)).map((chunk) => chunk.choices[0].text).join(""), "one two");
});

check("models", async () => {
  const models = await all(client.models.list());
  assert.ok(models.some((model) => model.id === MODEL));
});

await main();
