// What is served: where each model goes and why, what it costs, and what it can do.

import { count, element, empty, link, read, set, table } from "./kit.js";

const LINE = /^\d+\. ([^:]+(?: \(weight \d+\))?): (\S+) (\S+); (.*)$/;
const PRICE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });
const NOTE = / until \d\d:\d\d:\d\d UTC/; // at the end of a candidate that is passed over

export async function show(root, session) {
  const { models } = await read("/api/models");
  if (!models.length) {
    root.append(empty("No model is declared.", "Name models under model_providers in the configuration; what a wildcard serves is not listed here."));
    return;
  }
  const filter = set(element("input"), { type: "search", "aria-label": "Filter models", placeholder: "Filter by name or upstream…", spellcheck: "false", size: 32 });
  const list = element("div", "");
  root.append(element("p", "controls", filter), list);
  const columns = [
    ["Model", (model) => element("span", "named", element("strong", "", model.id), model.display_name && model.display_name !== model.id ? element("span", "none", model.display_name) : null)],
    ["Context", (model) => (model.context_window ? `${count(model.context_window)} tokens` : ""), "number"],
    ["Output", (model) => (model.max_output_tokens ? `${count(model.max_output_tokens)} tokens` : ""), "number"],
    ["Price for a million tokens", price],
    ["Can take", (model) => (model.input_modalities ?? []).join(", ")],
    ...(session.role === "key" ? [] : [["Goes to", routes, "routes"], ["Fields", (model) => fields(model)]]),
  ];
  const draw = () => {
    const wanted = filter.value.toLowerCase().trim();
    const shown = models.filter((model) => JSON.stringify(model).toLowerCase().includes(wanted));
    list.replaceChildren(shown.length ? table("Models", columns, shown) : empty("No model matches."));
  };
  filter.addEventListener("input", draw);
  draw();
}

function price({ price: own }) {
  if (!own) return element("span", "none", "not known");
  const usd = (value) => `$${PRICE.format(value)}`;
  const more = [["cached", own.cached_input], ["cache write", own.cache_write]].filter(([, value]) => typeof value === "number").map(([name, value]) => `${name} ${usd(value)}`);
  return element("span", "", `${usd(own.input)} in, ${usd(own.output)} out`, more.length ? element("small", "", more.join(", ")) : null);
}

// callers of most shapes go the same way: what is equal is said once
function routes({ candidates }) {
  const ways = new Map();
  for (const [shape, lines] of Object.entries(candidates)) {
    const key = JSON.stringify(lines.map((line) => LINE.exec(line)?.[1] ?? line));
    ways.set(key, [...(ways.get(key) ?? []), [shape, lines]]);
  }
  const first = [...ways.values()].map((shapes) => way(shapes[0][1]));
  const all = Object.entries(candidates).map(([shape, lines]) => element("div", "", element("p", "", element("span", `shape ${shape}`, shape)), element("ol", "", ...lines.map(candidate))));
  return element("details", "why", element("summary", "", ...first), ...all);
}

function way(lines) {
  const names = lines.map((line) => {
    const match = LINE.exec(line);
    const node = element("span", !match || /; key not set/.test(line) ? "bad" : "", match ? match[1] : line);
    return NOTE.test(line) ? element("span", "", node, " ", element("span", "badge near", "passed over")) : node;
  });
  return element("span", "way-line", ...names.flatMap((name, at) => (at ? [" → ", name] : [name])));
}

function candidate(line) {
  const match = LINE.exec(line);
  if (!match) return element("li", "bad", line);
  const [, name, api, url, rest] = match;
  return element("li", "", element("strong", "", name), ` ${api} `, element("code", "", url), element("small", "", rest));
}

function fields(model) {
  return link(`/capabilities?${new URLSearchParams({ model: model.id })}`, "Show", `Capabilities of ${model.id}`);
}
