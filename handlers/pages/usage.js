// What was used: sums by one or two dimensions, over time, as a chart and as a table whose bars lead to their requests. All that is
// chosen stands in the page's address.

import { Chart, HUES } from "./chart.js";
import { DAY, announce, bar, button, count, duration, element, empty, exact, failed, link, money, place, plural, query, read, repeat, set, share, table } from "./kit.js";

const RANGES = { "24h": ["24 hours", DAY], "7d": ["7 days", 7 * DAY], "30d": ["30 days", 30 * DAY], "90d": ["90 days", 90 * DAY], "1y": ["a year", 365 * DAY] };
const BY = ["key", "team", "user", "model", "provider"];
const HOURS = 3 * DAY; // a longer time is shown by the day
const MEASURES = {
  cost: ["Cost", (row) => row.cost_usd, money],
  tokens: ["Tokens", (row) => row.input + row.output, count],
  requests: ["Requests", (row) => row.requests, count],
  errors: ["Errors", (row) => row.errors, count],
};
const LOOK = 0.6; // seconds between two looks for something new
const PART = 5; // of the time: how much of it sums may take at most, as one in so many

export async function show(root, session) {
  const own = session.role === "key";
  const dimensions = own ? ["model", "provider", "user"] : BY;
  const state = { since: "7d", by: dimensions[0], and: "", show: "cost", ...query() };
  if (!Object.hasOwn(RANGES, state.since)) state.since = "7d";
  if (!dimensions.includes(state.by)) state.by = dimensions[0];
  if (!dimensions.includes(state.and) || state.and === state.by) state.and = "";
  if (!Object.hasOwn(MEASURES, state.show)) state.show = "cost";

  const controls = element("form", "controls");
  const totals = element("dl", "figures");
  const chart = new Chart({ name: "", label: "Usage", height: 240, stacked: true, series: [], format: (value) => MEASURES[state.show][2](value), range: () => span(), choose });
  const sheet = element("div", "");
  root.append(controls, totals, chart.node, sheet);

  let now = Date.now() / 1000;
  let newest;
  let resting = 0; // until when no sums are asked for
  const length = () => RANGES[state.since][1];
  const step = () => (length() > HOURS ? DAY : 3600);
  // whole steps, so that the first bar is no part of one
  const since = () => Math.floor((now - length()) / step() + 1) * step();
  const span = () => [since(), Math.ceil(now / step()) * step()];
  const wanted = () => Object.fromEntries(BY.filter((name) => state[name] !== undefined).map((name) => [name, state[name]]));
  const requests = (more) => `/requests?${new URLSearchParams({ ...wanted(), since: since(), until: Math.ceil(now), ...more })}`;

  function choose(time) {
    location.assign(requests({ since: time, until: time + step() }));
  }

  function change(name, value) {
    state[name] = value;
    if (state.and === state.by) state.and = "";
    history.pushState(null, "", place(address()));
    select();
    load().catch(failed);
  }

  function address() {
    return { since: state.since, by: state.by, and: state.and || undefined, show: state.show, ...wanted() };
  }

  function choice(name, label, options) {
    const field = set(element("select"), { name });
    field.append(...options.map(([value, text]) => new Option(text, value, false, value === state[name])));
    field.addEventListener("change", () => change(name, field.value));
    return element("label", "", label, field);
  }

  function select() {
    const download = link(`/api/usage?${new URLSearchParams({ since: since(), by: [state.by, state.and].filter(Boolean).join(","), ...wanted(), limit: 10000, format: "csv" })}`, "CSV", "Download these sums as CSV");
    download.className = "as-button";
    download.download = "usage.csv";
    const chips = Object.entries(wanted()).map(([name, value]) => {
      return button(`${name}: ${value || "none"} ×`, () => change(name, undefined), { kind: "chip", label: `Remove the filter ${name} ${value}` });
    });
    controls.replaceChildren(
      choice("since", "Time", Object.entries(RANGES).map(([value, [text]]) => [value, text])),
      choice("by", "By", dimensions.map((name) => [name, name])),
      choice("and", "and", [["", "nothing else"], ...dimensions.filter((name) => name !== state.by).map((name) => [name, name])]),
      choice("show", "Show", Object.entries(MEASURES).map(([value, [text]]) => [value, text.toLowerCase()])),
      ...chips,
      download,
    );
  }

  async function load() {
    const begun = performance.now();
    now = Date.now() / 1000;
    const when = step() === DAY ? "day" : "hour";
    const by = [state.by, state.and].filter(Boolean).join(",");
    const common = { since: since(), ...wanted() };
    const [sums, over] = await Promise.all([read("/api/usage", { ...common, by, order: state.show }), read("/api/usage", { ...common, by: `${state.by},${when}`, order: state.show, top: HUES - 1 })]);
    if (sums.rows.length === 1000) announce("Only the 1,000 largest rows are shown; the CSV has 10,000.");
    draw(sums.rows, over.rows, when);
    resting = performance.now() + PART * (performance.now() - begun);
  }

  function draw(rows, over, when) {
    const [name, value, format] = MEASURES[state.show];
    const sum = (read) => over.reduce((all, row) => all + (read(row) ?? 0), 0); // of all, also where the table has the largest alone
    const all = sum(value);
    chart.node.hidden = !rows.length;
    totals.replaceChildren(
      figure("Cost", money(sum((row) => row.cost_usd)), sum((row) => row.unpriced) ? `${plural(sum((row) => row.unpriced), "request")} without a price` : ""),
      figure("Requests", count(sum((row) => row.requests)), `${share(sum((row) => row.errors), sum((row) => row.requests))} failed`),
      figure("Input", plural(sum((row) => row.input), "token"), `${share(sum((row) => row.cached), sum((row) => row.input))} from caches`),
      figure("Output", plural(sum((row) => row.output), "token"), sum((row) => row.reasoning) ? `${share(sum((row) => row.reasoning), sum((row) => row.output))} reasoning` : ""),
    );
    if (!rows.length) return sheet.replaceChildren(nothing());
    const title = `${name} by ${state.by}, ${when === "day" ? "by day (UTC)" : "by hour"}`;
    chart.what.name = title;
    chart.what.days = when === "day";
    chart.node.querySelector("figcaption span").textContent = title;
    const [series, data] = stacks(over, when, value);
    chart.show(data, series, `${title}: ${series.map((one) => one.label).join(", ")}; the table below has the sums`);
    const sorted = [...rows].sort((one, other) => value(other) - value(one));
    const columns = [state.by, state.and].filter(Boolean).map((dimension) => [title_of(dimension), (row) => filter(dimension, row[dimension])]);
    sheet.replaceChildren(
      table(`Usage by ${state.by}`, [
        ...columns,
        [name, (row) => toRequests(row, value(row), all, format(value(row))), "wide"],
        ["Requests", (row) => numeral(row.requests), "number"],
        ["Failed", (row) => (row.errors ? element("span", "bad", share(row.errors, row.requests)) : "0 %"), "number"],
        ["Input", (row) => numeral(row.input, "tokens"), "number"],
        ["Output", (row) => numeral(row.output, "tokens"), "number"],
        ["First content", (row) => duration(row.ms_first), "number"],
        ...(state.show === "cost" ? [] : [["Cost", (row) => (row.unpriced === row.requests ? element("span", "none", "no price") : money(row.cost_usd)), "number"]]),
      ], sorted),
    );
    return undefined;
  }

  function filter(dimension, value) {
    if (own && dimension === "key") return value;
    const node = link(place({ ...address(), [dimension]: value }), value || "none", `Only ${dimension} ${value || "none"}`);
    if (!value) node.className = "none";
    return node;
  }

  function toRequests(row, part, all, text) {
    const own = Object.fromEntries([state.by, state.and].filter(Boolean).map((name) => [name, row[name]]));
    const names = Object.values(own).map((one) => one || "none").join(", ");
    const node = link(requests(own), "", `Requests of ${names}: ${text}`);
    node.className = "bar-link";
    node.append(bar(part, all, `${text}, ${share(part, all)}`, names), element("span", "size", text));
    node.querySelector(".meter").dataset.state = "plain";
    return node;
  }

  function nothing() {
    if (Object.keys(wanted()).length) return empty("Nothing was used that matches.", link(place({ ...address(), ...Object.fromEntries(BY.map((name) => [name, undefined])) }), "Remove the filters"));
    if (session.role === "admin") return empty("Nothing was used in this time.", "Make a key, and send a request with it: it appears here within two seconds.", link("/keys", "Go to the keys"));
    return empty("Nothing was used in this time.", "Choose a longer time, or send a request with a key: it appears here within two seconds.");
  }

  // asks for the newest request of all, which costs little however many there are
  async function look() {
    if (performance.now() < resting) return;
    const latest = (await read("/api/usage/requests", { limit: 1 })).requests[0]?.id ?? null;
    if (newest !== undefined && latest !== newest) await load();
    newest = latest;
  }

  addEventListener("popstate", () => location.reload());
  select();
  await look();
  await load();
  repeat(LOOK, look);
}

const title_of = (name) => name[0].toUpperCase() + name.slice(1);

function numeral(value, unit) {
  const node = element("span", "", count(value));
  node.title = `${exact(value)}${unit ? ` ${unit}` : ""}`;
  return node;
}

export function figure(label, value, more = "") {
  return element("div", "", element("dt", "", label), element("dd", "", value), more ? element("dd", "more", more) : null);
}

// the largest groups, and all others as one, whose name is null; for each time of them a sum, else 0
function stacks(rows, when, value) {
  const by = Object.keys(rows[0] ?? {}).find((name) => name !== when);
  const sums = new Map();
  for (const row of rows) sums.set(row[by], (sums.get(row[by]) ?? 0) + value(row));
  const names = [...sums.keys()].sort((one, other) => (one === null) - (other === null) || sums.get(other) - sums.get(one));
  const moments = [...new Set(rows.map((row) => row[when]))].sort((one, other) => one - other);
  const lists = new Map(names.map((name) => [name, moments.map(() => 0)]));
  for (const row of rows) lists.get(row[by])[moments.indexOf(row[when])] += value(row);
  const series = names.map((name, at) => (name === null ? { label: "others", hue: "--faint" } : { label: name || "none", hue: `--hue-${at + 1}` }));
  return [series, [moments, ...lists.values()]];
}
