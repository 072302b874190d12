// Errors, retries, deadlines and cancellation with the official openai package.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { all, API_KEY, BASE_URL, check, directOnly, faulty, main, MODEL, rejected } from "./checks.mjs";

const settings = { baseURL: BASE_URL, apiKey: API_KEY, timeout: 30_000 };
const client = new OpenAI({ ...settings, maxRetries: 0 });
const patient = new OpenAI(settings);
const ask = (content, more = {}, options = {}, by = client) =>
  by.chat.completions.create({ model: MODEL, messages: [{ role: "user", content }], ...more }, options);

check("a bad key", async () => {
  const wrong = new OpenAI({ ...settings, apiKey: "wrong", maxRetries: 0 });
  const error = await rejected(OpenAI.AuthenticationError, () => ask("hi", {}, {}, wrong));
  assert.equal(error.code, "invalid_api_key");
});

check("an unknown model", async () => {
  const error = await rejected(OpenAI.NotFoundError, () => ask("hi", { model: "nope" }));
  assert.equal(error.code, "model_not_found");
});

check("a context overflow", async () => {
  const error = await rejected(OpenAI.BadRequestError, () => ask(faulty("context_overflow")));
  assert.equal(error.code, "context_length_exceeded");
});

check("a rate limit says when", async () => {
  const error = await rejected(OpenAI.RateLimitError, () => ask(faulty("status", { status: 429, retry_after_s: 7 })));
  assert.ok(Number(error.headers.get("retry-after")) >= 1);
});

directOnly("each status is its own class", async () => {
  const kinds = {
    400: OpenAI.BadRequestError,
    401: OpenAI.AuthenticationError,
    403: OpenAI.PermissionDeniedError,
    404: OpenAI.NotFoundError,
    409: OpenAI.ConflictError,
    422: OpenAI.UnprocessableEntityError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
    503: OpenAI.InternalServerError,
    529: OpenAI.InternalServerError,
  };
  for (const [status, kind] of Object.entries(kinds)) {
    const error = await rejected(kind, () => ask(faulty("status", { status: Number(status) })));
    assert.equal(error.status, Number(status));
  }
});

directOnly("default retries get over two failures", async () => {
  for (const status of [408, 409, 429, 500, 503]) {
    const answer = await ask(faulty("status", { status, limit: 2, retry_after_s: 0.01 }), {}, {}, patient);
    assert.ok(answer.choices[0].message.content);
  }
});

directOnly("default retries get over a reset", async () => {
  assert.ok((await ask(faulty("reset", { limit: 1 }), {}, {}, patient)).choices[0].message.content);
});

directOnly("a reset connection", () => rejected(OpenAI.APIConnectionError, () => ask(faulty("reset"))));

check("a timeout", () =>
  rejected(OpenAI.APIConnectionTimeoutError, () => ask(faulty("black_hole"), {}, { timeout: 300 })));

check("a call may be cancelled", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 200);
  await rejected(OpenAI.APIUserAbortError, () => ask(faulty("black_hole"), {}, { signal: controller.signal }));
});

check("a stream may be left", async () => {
  const stream = await ask(faulty("slow_body", { delay_s: 1 }), { stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.object, "chat.completion.chunk");
    break;
  }
  assert.ok((await ask("hi")).choices[0].message.content);
});

check("a cut stream is an error", () =>
  assert.rejects(async () => all(await ask(faulty("cut_stream"), { stream: true }))));

check("an error event is an error", async () => {
  const stream = await ask(faulty("error_event", { events: 2, status: 500 }), { stream: true });
  await assert.rejects(() => all(stream), OpenAI.APIError);
});

check("unusual streams are understood", async () => {
  for (const kind of ["crlf", "comments", "multi_line", "odd_chunks", "eof_body", "duplicate_headers"]) {
    const chunks = await all(await ask(faulty(kind, {}, "[[say:Grüße 🌍!]]"), { stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "Grüße 🌍!", kind);
  }
});

directOnly("compressed streams are understood", async () => {
  const chunks = await all(await ask(faulty("gzip", {}, "[[say:Grüße 🌍!]]"), { stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "Grüße 🌍!");
});

await main();
