// The ai package over the Responses API.
import { createOpenAI } from "@ai-sdk/openai";
import { checkModel } from "./ai_checks.mjs";
import { API_KEY, BASE_URL, main, MODEL } from "./checks.mjs";

checkModel("responses", createOpenAI({ baseURL: BASE_URL, apiKey: API_KEY }).responses(MODEL));

await main();
