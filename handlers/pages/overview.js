// What happens now, and what today has cost so far against yesterday.

import { Chart } from "./chart.js";
import { clock, count, duration, element, empty, link, money, plural, read, repeat, set, share, table } from "./kit.js";
import { figure } from "./usage.js";

const EVERY = 2; // seconds between two looks at the present
const SUMS = 30; // seconds between two looks at the sums
const RATE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const rate = (value) => `${RATE.format(value)}/s`;

export async function show(root, session) {
  const state = set(element("p", "state", element("i"), element("span", "", "connecting")), { role: "status" });
  const numbers = set(element("dl", "figures"), { "aria-label": "Now" });
  const traffic = new Chart({ name: "Requests per second", format: rate, range: () => span(), series: [{ label: "answered", hue: "--hue-1", fill: true }, { label: "failed", hue: "--failed" }] });
  const first = new Chart({ name: "Time to first content", format: duration, range: () => span(), series: [{ label: "mean", hue: "--hue-3", fill: true }] });
  const spent = new Chart({ name: "Cost of the day", format: money, days: false, series: [{ label: "today", hue: "--hue-2", fill: true }, { label: "yesterday", hue: "--faint", dash: [4, 4] }] });
  const used = new Chart({ name: "Tokens of the day", format: count, days: false, series: [{ label: "today", hue: "--hue-4", fill: true }, { label: "yesterday", hue: "--faint", dash: [4, 4] }] });
  const upstreams = element("section", "");
  const start = element("div", "");
  root.append(state, start, numbers, element("div", "charts", traffic.node, first.node, spent.node, used.node), element("h2", "", "Upstreams"), upstreams);

  let now = null;
  let today = null;
  const steps = new Map(); // time -> step

  const span = () => (now ? [now.now - now.span, now.now] : [0, 1]);

  async function look() {
    const last = Math.max(0, ...steps.keys());
    try {
      now = await read("/api/now", last ? { since: last } : {}); // the last step may have grown
    } catch (error) {
      live("no", "no connection");
      throw error;
    }
    live("live", "live");
    for (const step of now.steps) steps.set(step.time, step);
    for (const time of steps.keys()) if (time < now.now - now.span - now.step) steps.delete(time);
    draw();
  }

  function live(word, text) {
    state.dataset.state = word;
    if (state.lastChild.textContent !== text) state.lastChild.textContent = text;
  }

  async function sums() {
    const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
    const before = new Date(new Date().setHours(-24, 0, 0, 0)).setHours(0, 0, 0, 0) / 1000;
    const usage = await read("/api/usage", { since: before, by: "hour" });
    today = { midnight, before, rows: usage.rows, until: usage.until };
    drawSums();
  }

  function draw() {
    // the current step is not over yet
    const end = Math.floor(now.now / now.step) * now.step;
    const times = Array.from({ length: now.span / now.step }, (_, at) => end - (now.span / now.step - at) * now.step);
    const per = (read) => times.map((time) => (steps.has(time) ? read(steps.get(time)) / now.step : 0));
    traffic.show([times, per((step) => step.requests - step.errors), per((step) => step.errors)]);
    first.show([times, times.map((time) => steps.get(time)?.ms_first ?? null)]);
    drawNumbers(end);
    upstreams.replaceChildren(table("Upstreams", COLUMNS, now.upstreams));
  }

  function drawNumbers(end) {
    const lately = [...steps.values()].filter((step) => step.time >= end - 60 && step.time < end);
    const sum = (read) => lately.reduce((all, step) => all + read(step), 0);
    const firsts = lately.filter((step) => step.ms_first !== null);
    const requests = sum((step) => step.requests);
    const [cost, tokens] = day();
    numbers.replaceChildren(
      figure("Requests", rate(requests / 60), "in the last minute"),
      figure("Errors", rate(sum((step) => step.errors) / 60), `${share(sum((step) => step.errors), requests)} of the last minute`),
      figure("First content", firsts.length ? duration(firsts.reduce((all, step) => all + step.ms_first, 0) / firsts.length) : "–", "in the last minute"),
      figure("Streams open", count(now.streams_open), "on this machine"),
      figure("Cost today", money(cost[0]), cost[1]),
      figure("Tokens today", count(tokens[0]), tokens[1]),
    );
  }

  // of today, and against the same hours of yesterday
  function day() {
    if (!today) return [[0, ""], [0, ""]];
    const passed = today.until - today.midnight;
    const sum = (read, low, high) => today.rows.filter((row) => row.hour >= low && row.hour < high).reduce((all, row) => all + read(row), 0);
    const both = (read) => [sum(read, today.midnight, Infinity), sum(read, today.before, today.before + passed)];
    const [cost, costBefore] = both((row) => row.cost_usd);
    const [tokens, tokensBefore] = both((row) => row.input + row.output);
    return [[cost, `${money(costBefore)} yesterday by now`], [tokens, `${count(tokensBefore)} yesterday by now`]];
  }

  // running sums at each full hour, and today's at this moment
  function drawSums() {
    const { midnight, before, until } = today;
    const hours = Array.from({ length: 25 }, (_, hour) => midnight + hour * 3600);
    const times = [...hours, until].sort((one, other) => one - other);
    const sum = (read, low, high) => today.rows.filter((row) => row.hour >= low && row.hour < high).reduce((all, row) => all + read(row), 0);
    const now = (read) => times.map((time) => (time > until ? null : sum(read, midnight, time)));
    const then = (read) => times.map((time) => (time === until ? null : sum(read, before, before + time - midnight)));
    for (const [chart, read] of [[spent, (row) => row.cost_usd], [used, (row) => row.input + row.output]]) {
      chart.show([times, now(read), then(read)]);
    }
    start.replaceChildren(...(today.rows.length ? [] : [nothing(session)]));
  }

  await Promise.all([look(), sums()]);
  draw();
  repeat(EVERY, look);
  repeat(SUMS, sums);
}

const COLUMNS = [
  ["Provider", (row) => link(`/usage?${new URLSearchParams({ provider: row.provider, by: "model", since: "24h" })}`, row.provider)],
  ["Health", (row) => health(row)],
  ["Requests in 5 min", (row) => count(row.requests), "number"],
  ["Failed", (row) => (row.errors ? element("span", "bad", share(row.errors, row.requests)) : row.requests ? "0 %" : "–"), "number"],
  ["First content", (row) => duration(row.ms_first), "number"],
  ["Entries", (row) => element("code", "", row.entries.join(", "))],
];

function health(row) {
  if (!row.notes.length) return element("span", row.requests ? "badge" : "badge quiet", row.requests ? "in use" : "no traffic");
  const lines = row.notes.map((note) => element("small", "", `${note.entry}: ${note.text} until ${clock(new Date(note.until * 1000))}${note.worker ? ` (worker ${note.worker})` : ""}`));
  return element("span", "", element("span", "badge near", plural(row.notes.length, "note")), ...lines);
}

function nothing(session) {
  const more = session.role === "admin" ? [link("/keys", "Make a key")] : [];
  return empty("Nothing was used today or yesterday.", "Send a request with a key: the numbers below follow it.", ...more);
}
