// Keys: made, changed, rotated and revoked. A new key is shown once, with what to paste for the clients.

import { DAY, announce, budget, button, commas, confirm, copyable, dialog, element, empty, failed, form, limits, link, moment, number, read, set, table, words, write } from "./kit.js";

const PERIODS = [["month", "a month"], ["week", "a week"], ["day", "a day"], ["hour", "an hour"]];
const OVERLAPS = [["0", "not at all"], [String(3600), "an hour"], [String(DAY), "a day"], [String(7 * DAY), "7 days"], [String(30 * DAY), "30 days"]];

export async function show(root, session) {
  const may = session.role === "admin";
  const own = session.role === "key";
  const list = element("div", "");
  const shown = { all: false };
  const heading = root.querySelector("h1");
  const tools = element("p", "actions");
  if (may) tools.append(button("New key", () => edit(null), { kind: "main" }));
  heading.after(tools, list);
  if (own) heading.textContent = "Your key";

  let keys = [];

  async function load() {
    keys = (await read("/api/keys")).keys;
    draw();
  }

  function draw() {
    if (!keys.length) return list.replaceChildren(empty("There are no keys yet.", may ? "A key lets one person or program call the gateway, within its limits and its budget." : "An admin can make them.", ...(may ? [button("Make the first key", () => edit(null), { kind: "main" })] : [])));
    const past = keys.filter((key) => key.state === "revoked").length;
    const rows = shown.all ? keys : keys.filter((key) => key.state !== "revoked");
    const columns = [
      ["Key", (key) => element("span", "named", element("strong", "", key.name), element("code", "", key.shown))],
      ["State", state],
      ["Team, user", (key) => [key.team, key.user].filter(Boolean).join(", ")],
      ["Models", (key) => element("code", "", key.models.join(", "))],
      ["Limits", limits],
      ["Budget", (key) => budget(key, key.name), "wide"],
      ["Made", (key) => moment(key.created_at)],
      ["Actions", actions, "buttons"],
    ];
    list.replaceChildren(table("Keys", columns, rows));
    if (past) list.append(element("p", "", button(shown.all ? "Hide revoked keys" : `Show ${past} revoked`, () => ((shown.all = !shown.all), draw()))));
    return undefined;
  }

  function state(key) {
    const node = element("span", `badge ${key.state}`, key.state);
    const until = key.state === "active" && key.expires_at ? element("small", "", "until ", moment(key.expires_at)) : null;
    const old = key.previous_until ? element("small", "", "old one until ", moment(key.previous_until)) : null;
    return until || old ? element("span", "", node, until, old) : node;
  }

  function actions(key) {
    const usage = link(own ? "/usage" : `/usage?${new URLSearchParams({ key: key.name, by: "model" })}`, "Usage", `Usage of ${key.name}`);
    usage.className = "as-button";
    if (!may || key.state === "revoked") return element("span", "row-buttons", usage);
    return element(
      "span",
      "row-buttons",
      usage,
      button("Change", () => edit(key), { label: `Change ${key.name}` }),
      button("Rotate", () => rotate(key), { label: `Rotate ${key.name}` }),
      button("Revoke", () => revoke(key), { kind: "bad", label: `Revoke ${key.name}` }),
    );
  }

  async function edit(key) {
    const teams = (await read("/api/teams").catch(() => ({ teams: [] }))).teams.map((team) => team.name).filter(Boolean);
    const text = (value) => (value === null || value === undefined ? "" : String(value));
    form(key ? `Change ${key.name}` : "New key", [
      ...(key ? [] : [["name", "Name", { required: true, whole: true, hint: "Of the person or program, as in alice or ci-tests. It stays this key's for ever." }]]),
      ["team", "Team", { value: key?.team, list: teams, hint: "It is made if there is none of this name." }],
      ["user", "User", { value: key?.user, hint: "Empty: whoever a request says it is for." }],
      ["models", "Models", { whole: true, value: key ? key.models.join(", ") : "*", hint: "Names or patterns such as gpt-*, with commas. * is every model." }],
      ["budget_usd", "Budget in USD", { type: "number", value: text(key?.budget?.usd), hint: "Empty: no budget." }],
      ["budget_per", "each", { options: PERIODS, value: key?.budget?.per ?? "month" }],
      ["requests_per_minute", "Requests a minute", { type: "number", value: text(key?.requests_per_minute) }],
      ["tokens_per_minute", "Tokens a minute", { type: "number", value: text(key?.tokens_per_minute) }],
      ["expires_at", "Valid until", { type: "datetime-local", value: key?.expires_at ? stamp(key.expires_at) : "", hint: "Empty: until it is revoked." }],
      ["allow_from", "Networks", { value: key?.allow_from.join(", "), hint: "Such as 10.0.0.0/8. Empty: from anywhere." }],
      ["tags", "Tags", { whole: true, value: key?.tags.join(", ") }],
    ], key ? "Save" : "Make the key", async (values) => {
      const wanted = {
        team: values.team,
        user: values.user,
        models: words(values.models),
        budget: values.budget_usd === "" ? null : { usd: number(values.budget_usd), per: values.budget_per, ...(key?.budget ? { unpriced: key.budget.unpriced } : {}) },
        requests_per_minute: number(values.requests_per_minute),
        tokens_per_minute: number(values.tokens_per_minute),
        expires_at: values.expires_at ? new Date(values.expires_at).getTime() / 1000 : null,
        allow_from: words(values.allow_from),
        tags: commas(values.tags),
      };
      if (key) await write("PATCH", path(key), wanted);
      else once(await write("POST", "/api/keys", { name: values.name, ...wanted }));
      await load();
      if (key) announce(`${key.name} is changed.`);
    });
  }

  function rotate(key) {
    form(`Rotate ${key.name}`, [["overlap", "The old key stays valid", { whole: true, options: OVERLAPS, value: String(DAY), hint: "Its name, limits, budget and usage stay." }]], "Make a new secret", async (values) => {
      once(await write("POST", `${path(key)}/rotate`, { overlap: Number(values.overlap) }));
      await load();
    });
  }

  function revoke(key) {
    confirm(`Revoke ${key.name}?`, "It is refused everywhere within five seconds. This cannot be undone, and its name is not used again.", "Revoke", async () => {
      await write("DELETE", path(key));
      await load();
      announce(`${key.name} is revoked.`);
    });
  }

  function once(made) {
    secret(made, session.gateway).catch(failed);
  }

  await load();
}

const path = (key) => `/api/keys/${encodeURIComponent(key.name)}`;

function stamp(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

// ---- the new key, once ----

function pastes(base, key, model) {
  const quoted = JSON.stringify(model);
  return {
    "OpenAI SDK": `from openai import OpenAI

client = OpenAI(base_url="${base}/v1", api_key="${key}")
answer = client.chat.completions.create(
    model=${quoted}, messages=[{"role": "user", "content": "Good morning"}]
)
print(answer.choices[0].message.content)`,
    "Anthropic SDK": `from anthropic import Anthropic

client = Anthropic(base_url="${base}", api_key="${key}")
answer = client.messages.create(
    model=${quoted}, max_tokens=200, messages=[{"role": "user", "content": "Good morning"}]
)
print(answer.content[-1].text)`,
    "Claude Code": `export ANTHROPIC_BASE_URL=${base}
export ANTHROPIC_AUTH_TOKEN=${key}
export ANTHROPIC_MODEL=${model}
export ANTHROPIC_DEFAULT_HAIKU_MODEL=${model}
claude`,
    Codex: `export DRAGOMAN_KEY=${key}

# in ~/.codex/config.toml:
model = ${quoted}
model_provider = "dragoman"

[model_providers.dragoman]
name = "Dragoman"
base_url = "${base}/v1"
env_key = "DRAGOMAN_KEY"
wire_api = "responses"`,
    curl: `curl ${base}/v1/chat/completions \\
  -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
  -d '${JSON.stringify({ model, messages: [{ role: "user", content: "Good morning" }] })}'`,
  };
}

function allows(patterns, model) {
  return patterns.some((pattern) => new RegExp(`^${pattern.split("*").map((one) => one.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`).test(model));
}

async function secret(made, gateway) {
  const models = (await read("/api/models").catch(() => ({ models: [] }))).models.map((model) => model.id).filter((id) => allows(made.models, id) || allows(made.models, id.slice(id.indexOf("/") + 1)));
  const all = pastes(`${gateway.scheme}://${location.hostname}:${gateway.port}`, made.key, models[0] ?? "MODEL");
  const panel = set(element("div", "panel"), { role: "tabpanel", id: "paste", "aria-live": "polite" });
  const tabs = set(element("div", "tabs"), { role: "tablist", "aria-label": "For which client" });
  const choose = (name) => {
    for (const tab of tabs.children) {
      const chosen = tab.textContent === name;
      set(tab, { "aria-selected": chosen, tabindex: chosen ? 0 : -1 });
    }
    set(panel, { "aria-label": name }).replaceChildren(copyable(all[name], `the lines for ${name}`));
  };
  tabs.append(...Object.keys(all).map((name) => set(button(name, () => choose(name)), { role: "tab", "aria-controls": "paste" })));
  tabs.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const own = [...tabs.children];
    const next = own[(own.indexOf(document.activeElement) + by + own.length) % own.length];
    next.focus();
    choose(next.textContent);
  });
  choose("OpenAI SDK");
  const node = dialog(
    `The key of ${made.name}`,
    element("p", "once", "Copy it now: it is not shown again, and nobody can read it from the store."),
    copyable(made.key, "the key"),
    tabs,
    panel,
    element("p", "buttons", button("I have copied it", () => node.close(), { kind: "main" })),
  );
  node.id = "secret";
  node.addEventListener("cancel", (event) => event.preventDefault()); // Escape does not lose it
}
