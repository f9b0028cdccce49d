// The API, numbers with their units, and the pieces that pages are made of. Nothing is ever set as HTML.

import { element } from "/inspector/json.js";

export { element };
export const DAY = 86400; // seconds

// ---- the API ----

export class Refused extends Error {
  constructor(status, { error, param }) {
    super(error ?? `the gateway answered ${status}`);
    this.status = status;
    this.param = param;
  }
}

let own = null; // the session

export async function session() {
  own = (await read("/api/session")).session;
  if (!own) leave();
  return own ?? new Promise(() => {}); // the browser is on its way to the sign-in
}

export function leave() {
  location.assign(`/inspector/login.html?${new URLSearchParams({ next: location.pathname + location.search })}`);
}

export function read(path, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null));
  return ask(asked.size ? `${path}?${asked}` : path, {});
}

export function write(method, path, value) {
  const headers = { "content-type": "application/json", "x-dragoman-csrf": own?.csrf ?? "" };
  return ask(path, { method, headers, body: value === undefined ? undefined : JSON.stringify(value) });
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, { error: "The gateway does not answer. Is it running?" });
  }
  const value = await answer.json().catch(() => ({}));
  if (answer.status === 401) leave();
  if (!answer.ok) throw new Refused(answer.status, value);
  return value;
}

// ---- news for the reader ----

export function failed(error) {
  announce(error instanceof Refused ? error.message : `This page failed: ${error.message}`, true);
}

let fading = 0;

export function announce(text, bad = false) {
  const node = document.getElementById("news");
  node.textContent = text;
  node.classList.toggle("bad", bad);
  node.hidden = false;
  clearTimeout(fading);
  if (!bad) fading = setTimeout(() => (node.hidden = true), 5000);
}

// ---- again and again, while somebody looks ----

export function repeat(seconds, work) {
  const turn = async () => {
    if (!document.hidden) await work().catch(failed);
    setTimeout(turn, seconds * 1000);
  };
  setTimeout(turn, seconds * 1000);
}

// ---- numbers and times ----

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const dollars = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const exact = (value) => whole.format(value);
export const count = (value) => (Math.abs(value) < 10000 ? whole.format(value) : short.format(value));
export const plural = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;
export const share = (part, all) => (all ? `${((100 * part) / all).toFixed(part && part / all < 0.1 ? 1 : 0)} %` : "–");

export function money(usd) {
  if (usd === null || usd === undefined) return "–";
  if (usd === 0) return "$0";
  if (usd < 0.1) return `$${usd.toFixed(Math.min(9, 1 - Math.floor(Math.log10(usd))))}`;
  return `$${dollars.format(usd)}`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 60000) return `${(ms / 60000).toFixed(1)} min`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms >= 10000 ? 1 : 2)} s`;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)} ms`;
}

const two = (value) => String(value).padStart(2, "0");
export const day = (moment) => `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
export const clock = (moment) => `${two(moment.getHours())}:${two(moment.getMinutes())}`;

export function moment(seconds, fine = false) {
  const date = new Date(seconds * 1000);
  const node = element("time", "", `${day(date)} ${clock(date)}${fine ? `:${two(date.getSeconds())}` : ""}`);
  node.dateTime = date.toISOString();
  node.title = date.toUTCString();
  return node;
}

// ---- pieces ----

export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function link(href, text, label) {
  const node = element("a", "", text);
  node.href = href;
  if (label) node.setAttribute("aria-label", label);
  return node;
}

export function button(text, action, { kind = "", label } = {}) {
  const node = element("button", kind, text);
  node.type = "button";
  if (label) node.setAttribute("aria-label", label);
  node.addEventListener("click", action);
  return node;
}

// columns: [label, cell(row), kind]; `number` columns stand to the right. In narrow windows each row is a card, and its cells say their labels
export function table(name, columns, rows) {
  const head = element("tr", "", ...columns.map(([label, , kind]) => set(element("th", kind ?? "", label), { scope: "col", role: "columnheader" })));
  set(head, { role: "row" });
  const body = rows.map((row) => {
    const cells = columns.map(([label, cell, kind], index) => {
      const value = cell(row);
      const node = element(index ? "td" : "th", kind ?? "", value);
      set(node, index ? { role: "cell" } : { role: "rowheader", scope: "row" });
      if (value === "" || value === null || value === undefined) node.classList.add("none");
      node.dataset.label = label;
      return node;
    });
    return set(element("tr", "", ...cells), { role: "row" });
  });
  const groups = [element("thead", "", head), element("tbody", "", ...body)].map((group) => set(group, { role: "rowgroup" }));
  return element("div", "sheet", set(element("table", "", ...groups), { role: "table", "aria-label": name }));
}

export function empty(title, ...more) {
  return element("div", "blank", element("p", "", element("strong", "", title)), ...more.map((one) => (one instanceof Node ? one : element("p", "", one))));
}

export function bar(part, all, text, name) {
  const ratio = all ? part / all : part ? 1 : 0;
  const node = set(element("span", "meter", element("i")), {
    role: "meter",
    "aria-label": name,
    "aria-valuemin": 0,
    "aria-valuemax": all,
    "aria-valuenow": Math.min(part, all),
    "aria-valuetext": text,
  });
  node.firstChild.style.width = `${Math.min(100, 100 * ratio)}%`;
  node.dataset.state = ratio >= 1 ? "over" : ratio >= 0.8 ? "near" : "well";
  return node;
}

const PERIODS = { hour: "this hour", day: "today", week: "this week", month: "this month" };

export function budget(row, name) {
  if (!row.budget) return "";
  const { usd, per } = row.budget;
  const spent = row.spent_usd ?? 0;
  const text = `${money(spent)} of ${money(usd)} ${PERIODS[per]}`;
  return element("span", "budget", bar(spent, usd, text, `Budget of ${name}`), element("span", "size", text));
}

export function limits(row) {
  const limits = [];
  if (row.requests_per_minute) limits.push(`${count(row.requests_per_minute)} requests/min`);
  if (row.tokens_per_minute) limits.push(`${count(row.tokens_per_minute)} tokens/min`);
  return limits.join(", ");
}

// ---- dialogs ----

let dialogs = 0;

export function dialog(title, ...children) {
  const heading = element("h2", "", title);
  heading.id = `dialog-${(dialogs += 1)}`;
  const node = set(element("dialog", "", heading, ...children), { "aria-labelledby": heading.id });
  node.addEventListener("close", () => node.remove());
  document.body.append(node);
  node.showModal();
  return node;
}

// fields: [name, label, {hint, type, options, value, list, required, rows}]; save(values) may throw a Refused, which names its field
export function form(title, fields, submit, save, ...before) {
  const inputs = fields.map((field) => input(...field));
  const fault = set(element("p", "fault"), { role: "alert" });
  const send = element("button", "main", submit);
  const body = element("form", "fields", ...before, ...inputs, fault, element("p", "buttons", button("Cancel", () => node.close()), send));
  body.noValidate = true;
  body.addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const one of body.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
    fault.textContent = "";
    send.disabled = true;
    try {
      await save(Object.fromEntries([...new FormData(body)].map(([name, value]) => [name, value.trim()])));
      node.close();
    } catch (error) {
      fault.textContent = error.message;
      const wrong = body.elements[error.param?.replace(".", "_")] ?? body.elements[error.param?.split(".")[0]];
      wrong?.setAttribute("aria-invalid", "true");
      wrong?.focus();
    }
    send.disabled = false;
  });
  const node = dialog(title, body);
  return node;
}

let numbered = 0;

function input(name, label, { hint, type = "text", options, value = "", list, required, whole } = {}) {
  const field = element(options ? "select" : "input");
  if (options) field.append(...options.map(([own, text]) => new Option(text, own, false, own === value)));
  else set(field, { type, autocomplete: "off", spellcheck: "false" }).value = value;
  const id = `field-${(numbered += 1)}`;
  set(field, { id, name, ...(required ? { required: "" } : {}), ...(hint ? { "aria-describedby": `${id}-hint` } : {}) });
  if (type === "number") set(field, { min: "0", step: "any", inputmode: "decimal" });
  const parts = [set(element("label", "", label), { for: id }), field];
  if (hint) parts.push(set(element("small", "", hint), { id: `${id}-hint` }));
  if (list) {
    field.setAttribute("list", `${id}-list`);
    parts.push(set(element("datalist", "", ...list.map((one) => new Option(one))), { id: `${id}-list` }));
  }
  return element("div", whole ? "field whole" : "field", ...parts);
}

// what a form says of a number or a list: null for nothing
export const number = (text) => (text === "" ? null : Number.isFinite(Number(text)) ? Number(text) : text);
export const words = (text) => text.split(/[\s,]+/).filter(Boolean);
export const commas = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);

export function confirm(title, text, submit, action) {
  return form(title, [], submit, action, element("p", "", text));
}

export function copyable(text, name) {
  const code = set(element("pre", "", text), { tabindex: "0", "aria-label": name });
  const copy = button("Copy", async () => {
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    if (!done) getSelection().selectAllChildren(code);
    copy.textContent = done ? "Copied" : "Selected: press Ctrl+C";
  }, { label: `Copy ${name}` });
  return element("div", "copyable", code, copy);
}

// ---- what the address of a page says ----

export const query = () => Object.fromEntries(new URLSearchParams(location.search));

export function place(values) {
  const asked = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));
  return asked.size ? `${location.pathname}?${asked}` : location.pathname;
}
