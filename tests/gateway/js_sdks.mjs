// Asks a gateway through the vendors' JavaScript SDKs and their stream helpers, and prints what each reassembled.
// Input: lines of {"client": shape, "model": name}. Output: a line of JSON for each, in the same order.
// node js_sdks.mjs GATEWAY_URL NODE_MODULES [KEY]
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [gateway, modules, apiKey = "k"] = process.argv.slice(2);
const require = createRequire(modules + "/");
const OpenAI = require("openai").default;
const Anthropic = require("@anthropic-ai/sdk").default;
const openai = new OpenAI({ baseURL: gateway + "/v1", apiKey, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: gateway, apiKey, maxRetries: 0 });
let google; // loaded when it is asked for
function client() {
  const { GoogleGenAI } = require("@google/genai");
  return (google ??= new GoogleGenAI({ apiKey, httpOptions: { baseUrl: gateway, timeout: 20000 } }));
}
const user = { role: "user", content: "x" };

const ask = {
  async chat(model) {
    const options = { model, messages: [user], stream: true, stream_options: { include_usage: true } };
    return await openai.chat.completions.stream(options).finalChatCompletion();
  },
  async messages(model) {
    return await anthropic.messages.stream({ model, max_tokens: 64, messages: [user] }).finalMessage();
  },
  async responses(model) {
    return await openai.responses.stream({ model, input: "x" }).finalResponse();
  },
  async gemini(model) {
    const chat = client().chats.create({ model });
    const parts = [];
    let finish;
    for await (const chunk of await chat.sendMessageStream({ message: "x" })) {
      parts.push(...(chunk.candidates[0].content.parts ?? []));
      finish = chunk.candidates[0].finishReason ?? finish;
    }
    return { parts, finish, history: chat.getHistory(true).map((content) => content.role) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { client, model } = JSON.parse(line);
  let told;
  try {
    told = { answer: await ask[client](model) };
  } catch (error) {
    told = { error: `${error.name}: ${error.message}` };
  }
  console.log(JSON.stringify(told));
}
