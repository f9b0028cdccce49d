// Single requests: searched, and one opened to what is known of it. What the inspector still has is shown with it: attempts, and what
// was dropped.

import { DAY, button, count, duration, element, empty, exact, failed, link, moment, money, place, query, read, set, table, dialog } from "./kit.js";

const USUAL = "24h";
const RANGES = { "1h": ["an hour", 3600], "24h": ["24 hours", DAY], "7d": ["7 days", 7 * DAY], "30d": ["30 days", 30 * DAY], all: ["any", null] };
const STATUSES = [["", "any"], ["failed", "failed"], ["200", "200"], ["400", "400"], ["401", "401"], ["403", "403"], ["404", "404"], ["429", "429"], ["499", "499 caller left"], ["500", "500"], ["502", "502"], ["503", "503"], ["504", "504"], ["529", "529"]];
const AT_ONCE = 100;

export async function show(root, session) {
  const state = { ...query() };
  const controls = element("form", "controls");
  const list = element("div", "");
  root.append(controls, list);

  let rows = [];

  function span() {
    if (state.request_id && !state.since) return {};
    const since = state.since ?? USUAL;
    if (!Object.hasOwn(RANGES, since)) return { since, until: state.until }; // moments, as a chart's bar says them
    const [, length] = RANGES[since];
    return length === null ? {} : { since: Date.now() / 1000 - length };
  }

  function asked(before) {
    const { status, since, until, ...names } = state;
    return { ...names, ...span(), ...(status === "failed" ? { failed: true } : { status: status || undefined }), limit: AT_ONCE, before };
  }

  async function load(before) {
    const page = await read("/api/usage/requests", asked(before));
    rows = before ? rows.concat(page.requests) : page.requests;
    draw(page.before);
  }

  function draw(before) {
    if (!rows.length) return list.replaceChildren(before ? further(before) : nothing());
    const own = session.role === "key";
    list.replaceChildren(
      table("Requests", [
        ["Time", (row) => moment(row.time, true)],
        ["Status", (row) => badge(row)],
        ["Model", (row) => element("span", "named", element("strong", "", row.asked || "–"), row.model && `${row.provider}/${row.model}` !== row.asked ? element("code", "", `${row.provider}/${row.model}`) : null)],
        ...(own ? [] : [["Key", (row) => [row.key, row.user].filter(Boolean).join(", ")]]),
        ["Tokens", (row) => `${count(row.input)} → ${count(row.output)}`, "number"],
        ["Cost", (row) => money(row.cost_usd), "number"],
        ["First", (row) => duration(row.ms_first), "number"],
        ["End", (row) => duration(row.ms_total), "number"],
        ["Request", (row) => button(row.request_id, () => open(row.request_id).catch(failed), { kind: "id", label: `Open ${row.request_id}` })],
      ], rows),
    );
    if (before) list.append(element("p", "", button("Older", () => load(before).catch(failed))));
    return undefined;
  }

  // one search looks at so many requests and no more
  function further(before) {
    return empty("No request matches among the newest ones.", "Older ones were not searched yet.", button("Search older", () => load(before).catch(failed), { kind: "main" }));
  }

  function nothing() {
    if (Object.keys(state).length) return empty("No request matches.", link("/requests", "Remove the filters"));
    return empty("There are no requests of the last 24 hours.", "Each request with a key is listed here a second after its end, without its content.", ...(session.role === "admin" ? [link("/keys", "Make a key")] : []));
  }

  function change(name, value) {
    state[name] = value || undefined;
    if (name === "since") delete state.until;
    history.replaceState(null, "", place(state));
    load().catch(failed);
  }

  function field(name, label, width) {
    const input = set(element("input"), { name, type: "search", autocomplete: "off", spellcheck: "false", size: width });
    input.value = state[name] ?? "";
    input.addEventListener("change", () => change(name, input.value.trim()));
    return element("label", "", label, input);
  }

  function choice(name, label, options) {
    const own = options.some(([value]) => value === (state[name] ?? "")) ? options : [[state[name], name === "since" ? "as chosen" : state[name]], ...options];
    const select = set(element("select"), { name });
    select.append(...own.map(([value, text]) => new Option(text, value, false, value === (state[name] ?? ""))));
    select.addEventListener("change", () => change(name, select.value));
    return element("label", "", label, select);
  }

  controls.append(
    field("request_id", "Id", 16),
    ...(session.role === "key" ? [] : [field("key", "Key", 12), field("team", "Team", 10)]),
    field("model", "Model", 16),
    choice("status", "Status", STATUSES),
    choice("since", "Time", Object.entries(RANGES).map(([value, [text]]) => [value === USUAL ? "" : value, text])),
    button("Refresh", () => load().catch(failed), { kind: "as-button" }),
  );
  controls.addEventListener("submit", (event) => event.preventDefault());
  await load();
}

function badge(row) {
  const bad = row.status >= 400 || row.error;
  const node = element("span", `badge ${row.status === 499 ? "quiet" : bad ? "failed" : ""}`, row.status === 499 ? "left" : String(row.status));
  return row.error ? element("span", "", node, element("small", "", row.error)) : node;
}

function fact(name, value) {
  return value === "" || value === null || value === undefined ? null : element("div", "", element("dt", "", name), element("dd", "", value));
}

async function open(id) {
  const { requests, exchanges } = await read(`/api/usage/requests/${encodeURIComponent(id)}`);
  dialog(`Request ${id}`, ...requests.map(one), ...exchanges.map(watched), element("p", "buttons", button("Close", (event) => event.target.closest("dialog").close(), { kind: "main" })));
}

function one(row) {
  const tokens = [`${exact(row.input)} in`, row.cached ? `${exact(row.cached)} of them from a cache` : "", row.cache_write ? `${exact(row.cache_write)} written to one` : "", `${exact(row.output)} out`, row.reasoning ? `${exact(row.reasoning)} of them reasoning` : ""];
  return element(
    "dl",
    "details",
    fact("Ended", moment(row.time, true)),
    fact("Status", badge(row)),
    fact("Key", row.key),
    fact("Team", row.team),
    fact("User", row.user),
    fact("Asked", row.asked),
    fact("Answered by", row.model && `${row.provider}/${row.model}`),
    fact("Caller's shape", row.shape),
    fact("Upstream's API", row.api),
    fact("Lane", row.lane),
    fact("Stream", row.stream ? "yes" : "no"),
    fact("Attempts", String(row.attempts)),
    fact("Tokens", tokens.filter(Boolean).join(", ")),
    fact("Cost", row.cost_usd === null ? "no price" : money(row.cost_usd)),
    fact("First content after", row.ms_first === null ? "" : duration(row.ms_first)),
    fact("End after", duration(row.ms_total)),
  );
}

// what the inspector still has
function watched(row) {
  const wires = link(`/#${encodeURIComponent(row.id)}`, "Its wires in the inspector");
  wires.className = "as-button";
  const names = (label, list) => (list?.length ? element("p", `tags ${label.split(" ")[0]}`, element("span", "label", label), ...list.map((name) => element("code", "", name))) : null);
  const attempts = (row.attempts ?? []).map((attempt, index) => {
    const came = attempt.error ? `${attempt.error}: ${attempt.message}` : attempt.status ? String(attempt.status) : "…";
    const after = attempt.ms === undefined ? "" : ` in ${duration(attempt.ms)}`;
    return element("li", attempt.error ? "failed" : "", element("span", "number", String(index + 1)), element("span", "why", attempt.why), element("span", "came", came + after));
  });
  return element(
    "section",
    "",
    element("h3", "", "Attempts"),
    element("ol", "attempts", ...attempts),
    names("dropped", row.dropped),
    names("adapted", row.adapted),
    names("not in the answer", row.response_dropped),
    element("p", "", wires),
  );
}
