// The ai package over Anthropic's Messages API.
import { createAnthropic } from "@ai-sdk/anthropic";
import { checkModel } from "./ai_checks.mjs";
import { API_KEY, BASE_URL, main, MODEL } from "./checks.mjs";

checkModel("messages", createAnthropic({ baseURL: BASE_URL, apiKey: API_KEY })(MODEL));

await main();
