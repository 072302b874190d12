// The ai package over chat and text completions.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, generateText, RetryError } from "ai";
import { checkModel } from "./ai_checks.mjs";
import { API_KEY, BASE_URL, check, directOnly, faulty, main, MODEL } from "./checks.mjs";

const provider = createOpenAI({ baseURL: BASE_URL, apiKey: API_KEY });
const model = provider.chat(MODEL);

checkModel("chat", model);
checkModel("completion", provider.completion(MODEL), { structured: false, toolCalls: false });

check("an upstream's error", async () => {
  const call = () => generateText({ model, prompt: faulty("context_overflow"), maxRetries: 2 });
  await assert.rejects(call, (error) => APICallError.isInstance(error) && error.statusCode === 400 && !error.isRetryable);
});

check("a bad key", async () => {
  const wrong = createOpenAI({ baseURL: BASE_URL, apiKey: "wrong" }).chat(MODEL);
  const call = () => generateText({ model: wrong, prompt: "hi", maxRetries: 2 });
  await assert.rejects(call, (error) => APICallError.isInstance(error) && error.statusCode === 401);
});

directOnly("default retries get over two failures", async () => {
  const prompt = faulty("status", { status: 503, limit: 2, retry_after_s: 0.01 });
  assert.ok((await generateText({ model, prompt })).text);
});

directOnly("after its retries the package gives up", async () => {
  const prompt = faulty("status", { status: 503, retry_after_s: 0.01 });
  await assert.rejects(() => generateText({ model, prompt, maxRetries: 1 }), (error) => RetryError.isInstance(error));
});

await main();
