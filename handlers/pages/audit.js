// Who changed what, and who was refused.

import { button, element, empty, failed, link, moment, place, query, read, set, table } from "./kit.js";

const ACTIONS = ["key.create", "key.change", "key.rotate", "key.revoke", "team.set", "team.remove", "user.set", "user.remove", "login", "login.refused"];
const AT_ONCE = 100;

export async function show(root) {
  const state = { ...query() };
  const controls = element("form", "controls");
  const list = element("div", "");
  root.append(controls, list);
  let lines = [];

  async function load(before) {
    const page = await read("/api/audit", { ...state, limit: AT_ONCE, before });
    lines = before ? lines.concat(page.audit) : page.audit;
    draw(page.audit.length === AT_ONCE ? page.before : null);
  }

  function draw(before) {
    if (!lines.length) return list.replaceChildren(empty("Nothing matches.", link("/audit", "Remove the filters")));
    list.replaceChildren(
      table("Audit", [
        ["Time", (line) => moment(line.time, true)],
        ["What", (line) => element("span", line.action === "login.refused" ? "badge failed" : line.action.endsWith("revoke") || line.action.endsWith("remove") ? "badge near" : "badge quiet", line.action)],
        ["Of", (line) => (line.subject ? element("strong", "", line.subject) : "")],
        ["Who", (line) => [line.who, line.role && line.role !== line.who ? `(${line.role})` : ""].filter(Boolean).join(" ")],
        ["By", (line) => [line.how, line.address].filter(Boolean).join(" from ")],
        ["Details", (line) => (Object.keys(line.detail).length ? element("code", "", JSON.stringify(line.detail).slice(1, -1).replaceAll('"', "").replaceAll(",", ", ")) : "")],
      ], lines),
    );
    if (before) list.append(element("p", "", button("Older", () => load(before).catch(failed))));
    return undefined;
  }

  function change(name, value) {
    state[name] = value || undefined;
    history.replaceState(null, "", place(state));
    load().catch(failed);
  }

  function field(name, label) {
    const input = set(element("input"), { name, type: "search", autocomplete: "off", spellcheck: "false", size: 14 });
    input.value = state[name] ?? "";
    input.addEventListener("change", () => change(name, input.value.trim()));
    return element("label", "", label, input);
  }

  const action = set(element("select"), { name: "action" });
  action.append(new Option("everything", ""), ...ACTIONS.map((name) => new Option(name, name, false, name === state.action)));
  action.addEventListener("change", () => change("action", action.value));
  controls.append(element("label", "", "What", action), field("subject", "Of"), field("who", "Who"));
  controls.addEventListener("submit", (event) => event.preventDefault());
  await load();
}
