// Stores things through the vendors' JavaScript SDKs, at a provider or through a gateway, and prints what each call returned.
// Input: lines of {"client": name, "where": 0 (the first URL) or 1, "method": name}; without a method its methods are listed.
// Output: a line of JSON for each, in the same order.
// node js_objects.mjs PROVIDER_URL GATEWAY_URL NODE_MODULES
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [direct, gateway, modules] = process.argv.slice(2);
const require = createRequire(modules + "/");
const urls = [direct, gateway];
const keys = ["sk-upstream", "own"];
const make = {
  openai(where) {
    const OpenAI = require("openai").default;
    return new OpenAI({ baseURL: urls[where] + "/v1", apiKey: keys[where], maxRetries: 0 });
  },
  anthropic(where) {
    const Anthropic = require("@anthropic-ai/sdk").default;
    return new Anthropic({ baseURL: urls[where], apiKey: keys[where], maxRetries: 0 });
  },
  google(where) {
    const { GoogleGenAI } = require("@google/genai");
    return new GoogleGenAI({ apiKey: keys[where], httpOptions: { baseUrl: urls[where], timeout: 20000 } });
  },
};

const form = () => new File(["{}"], "a.jsonl", { type: "application/jsonl" });
const skill = () => new File(["---\nname: s\n---"], "s/SKILL.md", { type: "text/markdown" });
const text = { model: "claude-x", max_tokens: 9, messages: [{ role: "user", content: "Hi" }] };
const vs = { vector_store_id: "vs_1" };
const methods = {
  openai: {
    "files.create": (c) => c.files.create({ file: form(), purpose: "batch" }),
    "files.retrieve": (c) => c.files.retrieve("file-1"),
    "files.list": (c) => all(c.files.list({ purpose: "batch" })),
    "files.content": async (c) => bytes(await c.files.content("file-1")),
    "files.delete": (c) => c.files.delete("file-1"),
    "batches.create": (c) => c.batches.create({ input_file_id: "f", endpoint: "/v1/responses", completion_window: "24h" }),
    "batches.retrieve": (c) => c.batches.retrieve("batch_1"),
    "batches.list": (c) => all(c.batches.list({ after: "batch_0" })),
    "batches.cancel": (c) => c.batches.cancel("batch_1"),
    "uploads.create": (c) => c.uploads.create({ bytes: 2, filename: "a", mime_type: "text/plain", purpose: "assistants" }),
    "uploads.parts.create": (c) => c.uploads.parts.create("upload_1", { data: new File([new Uint8Array([0, 255])], "part") }),
    "uploads.complete": (c) => c.uploads.complete("upload_1", { part_ids: ["part_1"] }),
    "uploads.cancel": (c) => c.uploads.cancel("upload_1"),
    "vectorStores.create": (c) => c.vectorStores.create({ name: "n", file_ids: ["file-1"] }),
    "vectorStores.search": (c) => all(c.vectorStores.search("vs_1", { query: "q" })),
    "vectorStores.files.list": (c) => all(c.vectorStores.files.list("vs_1", { filter: "completed" })),
    "vectorStores.files.delete": (c) => c.vectorStores.files.delete("file-1", vs),
    "vectorStores.fileBatches.create": (c) => c.vectorStores.fileBatches.create("vs_1", { file_ids: ["file-1"] }),
    "vectorStores.delete": (c) => c.vectorStores.delete("vs_1"),
    "containers.create": (c) => c.containers.create({ name: "n" }),
    "containers.files.create": (c) => c.containers.files.create("cntr_1", { file: form() }),
    "containers.files.content": async (c) => bytes(await c.containers.files.content.retrieve("f", { container_id: "cntr_1" })),
    "containers.delete": (c) => c.containers.delete("cntr_1"),
    "skills.create": (c) => c.skills.create({ files: [skill()] }),
    "skills.versions.list": (c) => all(c.skills.versions.list("skill_1")),
    "skills.content": async (c) => bytes(await c.skills.content.retrieve("skill_1")),
    "skills.delete": (c) => c.skills.delete("skill_1"),
    "chat.completions.retrieve": (c) => c.chat.completions.retrieve("chatcmpl-1"),
    "chat.completions.list": (c) => all(c.chat.completions.list({ model: "m" })),
    "chat.completions.update": (c) => c.chat.completions.update("chatcmpl-1", { metadata: { a: "b" } }),
    "chat.completions.messages.list": (c) => all(c.chat.completions.messages.list("chatcmpl-1")),
    "chat.completions.delete": (c) => c.chat.completions.delete("chatcmpl-1"),
  },
  anthropic: {
    "beta.files.upload": (c) => c.beta.files.upload({ file: form() }),
    "beta.files.retrieveMetadata": (c) => c.beta.files.retrieveMetadata("file_1"),
    "beta.files.list": (c) => all(c.beta.files.list({ limit: 2 })),
    "beta.files.download": async (c) => bytes(await c.beta.files.download("file_1")),
    "beta.files.delete": (c) => c.beta.files.delete("file_1"),
    "beta.skills.create": (c) => c.beta.skills.create({ files: [skill()] }),
    "beta.skills.versions.list": (c) => all(c.beta.skills.versions.list("skill_1")),
    "beta.skills.delete": (c) => c.beta.skills.delete("skill_1"),
    "messages.batches.create": (c) => c.messages.batches.create({ requests: [{ custom_id: "a", params: text }] }),
    "messages.batches.retrieve": (c) => c.messages.batches.retrieve("msgbatch_1"),
    "messages.batches.list": (c) => all(c.messages.batches.list()),
    "messages.batches.results": async (c) => all(await c.messages.batches.results("msgbatch_1")),
    "messages.batches.cancel": (c) => c.messages.batches.cancel("msgbatch_1"),
    "messages.batches.delete": (c) => c.messages.batches.delete("msgbatch_1"),
  },
  google: {
    "files.upload": (c) => c.files.upload({ file: new Blob(["0123456789"]), config: { mimeType: "text/plain" } }),
    "files.get": (c) => c.files.get({ name: "files/f1" }),
    "files.list": async (c) => all(await c.files.list()),
    "files.delete": (c) => c.files.delete({ name: "files/f1" }),
    "caches.create": (c) => c.caches.create({ model: "gemini-3-flash", config: { ttl: "60s" } }),
    "caches.get": (c) => c.caches.get({ name: "cachedContents/c" }),
    "caches.list": async (c) => all(await c.caches.list()),
    "caches.update": (c) => c.caches.update({ name: "cachedContents/c", config: { ttl: "60s" } }),
    "caches.delete": (c) => c.caches.delete({ name: "cachedContents/c" }),
    "batches.get": (c) => c.batches.get({ name: "batches/b" }),
    "batches.list": async (c) => all(await c.batches.list()),
    "batches.cancel": (c) => c.batches.cancel({ name: "batches/b" }),
    "fileSearchStores.create": (c) => c.fileSearchStores.create({ config: { displayName: "n" } }),
    "fileSearchStores.delete": (c) => c.fileSearchStores.delete({ name: "fileSearchStores/s" }),
  },
};

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

async function bytes(response) {
  return Buffer.from(await response.arrayBuffer()).toString("base64");
}

const clients = {};
for await (const line of createInterface({ input: process.stdin })) {
  const { client, where, method } = JSON.parse(line);
  let told;
  try {
    const made = method && (clients[client + where] ??= make[client](where));
    told = method ? { answer: (await methods[client][method](made)) ?? null } : { methods: Object.keys(methods[client]) };
  } catch (error) {
    told = { error: `${error.name}: ${error.message}` };
  }
  console.log(JSON.stringify(told));
}
