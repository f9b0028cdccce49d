// The page: the list of exchanges, its filter, the switches and the keys. One exchange's view is in exchange.js.

import { element } from "./json.js";
import { Exchange, duration, money, count } from "./exchange.js";

const $ = (id) => document.getElementById(id);
const exchanges = new Map(); // id -> row, oldest first
const nodes = new Map(); // id -> its line in the list
let chosen = null; // id
let paused = false;
let held = new Set(); // ids that changed while paused
let connected = false;
const kinds = new Set();
const view = new Exchange($("exchange"));

// ---- news ----

function listen() {
  const source = new EventSource("/inspector/live");
  source.addEventListener("open", () => setConnected(true));
  source.addEventListener("error", () => setConnected(false));
  source.addEventListener("rows", (event) => take(JSON.parse(event.data)));
}

function take({ rows, gone, content, gateway }) {
  tryOut(gateway);
  $("team").hidden = !gateway.team;
  for (const row of rows) {
    exchanges.set(row.id, row);
    if (paused) held.add(row.id);
  }
  for (const id of gone) exchanges.delete(id);
  setContent(content);
  if (paused) return showHeld();
  for (const id of gone) {
    nodes.get(id)?.remove();
    nodes.delete(id);
  }
  for (const row of rows) place(row);
  after();
  return undefined;
}

function after() {
  if (chosen && !exchanges.has(chosen)) choose(null);
  if (!chosen) {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const first = exchanges.has(wanted) ? wanted : $("rows").querySelector("li:not([hidden])")?.dataset.id;
    if (first) choose(first);
  }
  $("empty").hidden = nodes.size > 0;
  showUnmatched();
  const counts = { open: 0, failed: 0, translated: 0, lossy: 0 };
  for (const row of exchanges.values()) for (const kind of Object.keys(counts)) if (is[kind](row)) counts[kind] += 1;
  for (const button of $("kinds").children) button.dataset.count = counts[button.dataset.kind] || "";
}

function setConnected(now) {
  connected = now;
  showState();
}

function showState() {
  const word = !connected ? "no connection" : paused ? "paused" : "live";
  $("state").dataset.state = word.split(" ")[0];
  $("state").querySelector("span").textContent = word;
}

// a first request, for who has none
function tryOut({ scheme, port }) {
  $("try").textContent = `curl -N ${scheme}://${location.hostname}:${port}/v1/messages \\
  -H 'content-type: application/json' \\
  -d '{"model": "demo/think", "max_tokens": 100, "stream": true,
       "messages": [{"role": "user", "content": "Good morning"}]}'`;
}

// ---- the list ----

const is = {
  open: (row) => !row.done,
  failed: (row) => Boolean(row.error) || row.status >= 400,
  translated: (row) => row.lane === "events",
  lossy: (row) => Boolean(row.dropped?.length || row.response_dropped?.length),
};

function matches(row) {
  for (const kind of kinds) if (!is[kind](row)) return false;
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const hay = [row.id, row.request_id, row.shape, row.upstream_api, row.model, row.upstream, row.key, row.status, row.error, row.stop, row.lane, ...(row.dropped ?? [])].join(" ").toLowerCase();
  return words.every((word) => hay.includes(word));
}

function place(row) {
  const fresh = line(row);
  fresh.hidden = !matches(row);
  const old = nodes.get(row.id);
  if (old) old.replaceWith(fresh);
  else $("rows").prepend(fresh);
  nodes.set(row.id, fresh);
}

function line(row) {
  const node = element(
    "li",
    "row",
    element("span", "lamp"),
    element("span", "model", row.model || "—"),
    element("span", "when", clock(row.begun)),
    element("span", "way", shape(row.shape), row.upstream_api ? element("span", "arrow", row.lane === "bytes" ? "=" : "→") : null, row.upstream_api && row.lane !== "bytes" ? shape(row.upstream_api) : null, element("span", "upstream", row.upstream ?? "")),
    element("span", "cost", facts(row)),
  );
  node.dataset.id = row.id;
  node.id = `row-${row.id}`;
  node.dataset.state = !row.done ? "open" : is.failed(row) ? "failed" : row.client_left ? "left" : "well";
  node.role = "option";
  node.ariaSelected = String(row.id === chosen);
  node.addEventListener("click", () => {
    choose(row.id);
    show("exchange");
  });
  return node;
}

function facts(row) {
  if (!row.done) return `${row.records?.out ?? 0} events…`;
  const parts = [];
  if (row.error) parts.push(`${row.status} ${row.error}`);
  else if (row.client_left) parts.push("left");
  if (row.tokens) parts.push(`${count(row.tokens.input)}→${count(row.tokens.output)}`);
  if (row.cost) parts.push(money(row.cost));
  parts.push(duration(row.ms_total));
  return parts.join(" · ");
}

export function shape(name) {
  return element("span", `shape ${name}`, name);
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour12: false });
}

// in a narrow window the list and the exchange take turns
function show(what) {
  document.querySelector("main").dataset.shows = what;
  if (what === "exchange") view.draw();
}

function choose(id, scroll) {
  if (chosen) nodes.get(chosen)?.setAttribute("aria-selected", "false");
  chosen = id;
  $("nothing").hidden = Boolean(id);
  $("exchange").hidden = !id;
  $("rows").setAttribute("aria-activedescendant", id ? `row-${id}` : "");
  history.replaceState(null, "", id ? `#${id}` : location.pathname);
  if (!id) {
    show("list");
    return view.close();
  }
  nodes.get(id)?.setAttribute("aria-selected", "true");
  if (scroll) nodes.get(id)?.scrollIntoView({ block: "nearest" });
  return view.open(id, exchanges.get(id));
}

function refilter() {
  for (const [id, node] of nodes) node.hidden = !matches(exchanges.get(id) ?? {});
  showUnmatched();
}

function showUnmatched() {
  $("unmatched").hidden = !nodes.size || [...nodes.values()].some((node) => !node.hidden);
}

function unfilter() {
  $("filter").value = "";
  kinds.clear();
  for (const button of $("kinds").children) button.setAttribute("aria-pressed", "false");
  refilter();
  $("rows").focus();
}

function enter() {
  show("exchange");
  view.focus();
}

function back() {
  show("list");
  $("rows").focus();
}

function step(by) {
  const shown = [...$("rows").querySelectorAll("li:not([hidden])")];
  if (!shown.length) return;
  const at = shown.findIndex((node) => node.dataset.id === chosen);
  choose(shown[Math.max(0, Math.min(shown.length - 1, at < 0 ? 0 : at + by))].dataset.id, true);
}

// ---- switches ----

function setPaused(now) {
  paused = now;
  view.pause(now);
  $("pause").setAttribute("aria-pressed", String(now));
  $("pause").textContent = now ? "Resume" : "Pause";
  showState();
  if (now) return showHeld();
  for (const [id, node] of nodes) {
    if (exchanges.has(id)) continue;
    node.remove();
    nodes.delete(id);
  }
  for (const row of exchanges.values()) if (held.has(row.id)) place(row);
  held = new Set();
  showHeld();
  after();
  return undefined;
}

function showHeld() {
  const fresh = [...held].filter((id) => !nodes.has(id)).length;
  $("held").hidden = !paused;
  $("held").textContent = fresh ? `Paused. ${fresh} new since then.` : "Paused.";
}

function setContent(on) {
  const button = $("content");
  button.setAttribute("aria-checked", String(on));
  button.querySelector(".label").textContent = on ? "content shown" : "content hidden";
}

async function post(asked) {
  const answer = await fetch("/inspector/switch", {
    method: "POST",
    headers: { "content-type": "application/json", "x-dragoman-inspector": "1" },
    body: JSON.stringify(asked),
  });
  if (answer.ok) setContent((await answer.json()).content);
}

const night = matchMedia("(prefers-color-scheme: dark)");

function setTheme() {
  document.documentElement.dataset.theme = localStorage.getItem("dragoman-theme") ?? (night.matches ? "dark" : "light");
  view.draw();
}

function otherTheme() {
  localStorage.setItem("dragoman-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  setTheme();
}

// ---- explain ----

function explain() {
  const row = exchanges.get(chosen);
  const form = $("explain-form");
  if (row?.model && !form.model.value) form.model.value = row.model;
  $("explain").showModal();
  form.model.select();
  if (form.model.value) askWhy();
}

async function askWhy() {
  const form = $("explain-form");
  const query = new URLSearchParams({ model: form.model.value.trim(), shape: form.shape.value });
  const answer = await fetch(`/explain?${query}`);
  const explained = await answer.json();
  $("explained").replaceChildren(
    ...Object.entries(explained.candidates ?? {}).map(([name, lines]) =>
      element("section", "", element("h3", "", shape(name)), element("ol", "", ...lines.map(candidate))),
    ),
  );
}

function candidate(line) {
  const match = /^\d+\. ([^:]+(?: \(weight \d+\))?): (\S+) (\S+); (.*)$/.exec(line);
  if (!match) return element("li", "none", line);
  const [, name, api, url, rest] = match;
  return element("li", "", element("strong", "", name), element("code", "", `${api} ${url}`), element("span", "", rest));
}

// ---- keys ----

const keys = {
  j: () => step(1),
  k: () => step(-1),
  p: () => setPaused(!paused),
  c: () => $("content").click(),
  e: explain,
  t: otherTheme,
  o: () => view.toggleAll(),
  "?": () => $("keys").showModal(),
  "/": () => $("filter").focus(),
  " ": () => setPaused(!paused),
  Enter: enter,
  Escape: back,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing && event.key !== "Escape") return;
  if (typing) {
    event.target.value = "";
    refilter();
  }
  if ((event.key === "Enter" || event.key === " ") && event.target.closest("button, summary, #wires, #rows") && !(event.key === " " && event.target === $("rows"))) return; // whatever has the focus knows what to do
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

$("rows").addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1, Home: -1e9, End: 1e9, PageDown: 10, PageUp: -10 }[event.key];
  if (by) {
    event.preventDefault();
    step(by);
  } else if (event.key === "Enter" || event.key === "ArrowRight") {
    event.preventDefault();
    enter();
  }
});

$("filter").addEventListener("input", refilter);
$("filter").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "ArrowDown") $("rows").focus();
});
$("kinds").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  if (on) kinds.add(button.dataset.kind);
  else kinds.delete(button.dataset.kind);
  refilter();
});
$("unfilter").addEventListener("click", unfilter);
$("back").addEventListener("click", back);
$("pause").addEventListener("click", () => setPaused(!paused));
$("clear").addEventListener("click", () => post({ clear: true }));
$("content").addEventListener("click", () => post({ content: $("content").getAttribute("aria-checked") !== "true" }));
$("why").addEventListener("click", explain);
$("theme").addEventListener("click", otherTheme);
$("help").addEventListener("click", () => $("keys").showModal());
$("explain-form").addEventListener("submit", (event) => {
  event.preventDefault();
  askWhy();
});
night.addEventListener("change", setTheme);

setTheme();
showState();
listen();
