// Teams and their users: limits and budgets above those of their keys.

import { announce, budget, button, confirm, element, empty, form, limits, link, number, read, table, write } from "./kit.js";

const PERIODS = [["month", "a month"], ["week", "a week"], ["day", "a day"], ["hour", "an hour"]];

export async function show(root, session) {
  const may = session.role === "admin";
  const list = element("div", "");
  const tools = element("p", "actions");
  if (may) tools.append(button("New team", () => edit("New team", "Make the team", (name) => team(name)), { kind: "main" }));
  root.querySelector("h1").after(tools, list);

  async function load() {
    const [{ teams }, { keys }] = await Promise.all([read("/api/teams"), read("/api/keys")]);
    if (!teams.length) {
      const first = may ? [button("Make the first team", () => edit("New team", "Make the team", (name) => team(name)), { kind: "main" })] : [];
      return list.replaceChildren(empty("There are no teams yet.", "A team has limits and a budget for all its keys together. A key that names one makes it.", ...first));
    }
    list.replaceChildren(...teams.map((one) => card(one, keys.filter((key) => key.team === one.name && key.state !== "revoked"))));
    return undefined;
  }

  function card(one, keys) {
    const name = one.name || "Keys without a team";
    const buttons = element("span", "row-buttons");
    if (one.name) buttons.append(usage({ team: one.name, by: "key" }, one.name));
    if (may && one.name) {
      buttons.append(
        button("Change", () => edit(`Change ${one.name}`, "Save", () => team(one.name), one), { label: `Change ${one.name}` }),
        button("New user", () => edit(`New user of ${one.name}`, "Save", (user) => person(one.name, user)), { label: `New user of ${one.name}` }),
        button("Remove", () => remove(one.name, team(one.name), "Its limits and its users' end. It can be removed when it has no keys."), { kind: "bad", label: `Remove ${one.name}` }),
      );
    }
    const header = element("header", "", element("h2", "", name), budget(one, name) || null, limits(one) ? element("span", "", limits(one)) : null, buttons);
    const members = keys.map((key) => key.name);
    const about = one.name ? element("p", "", members.length ? `Keys: ${members.join(", ")}` : "It has no keys yet: name it in a key.") : null;
    return element("section", "card", header, about, one.users.length ? users(one) : null);
  }

  function users(one) {
    const columns = [["User", (user) => element("strong", "", user.name)], ["Limits", limits], ["Budget", (user) => budget(user, user.name), "wide"], ["Actions", (user) => actions(one.name, user), "buttons"]];
    return table(`Users of ${one.name || "keys without a team"}`, columns, one.users);
  }

  function actions(name, user) {
    const buttons = element("span", "row-buttons", usage({ team: name, user: user.name, by: "model" }, user.name));
    if (may) {
      buttons.append(
        button("Change", () => edit(`Change ${user.name}`, "Save", () => person(name, user.name), user), { label: `Change ${user.name}` }),
        button("Remove", () => remove(user.name, person(name, user.name), "The limits of this user end; usage stays."), { kind: "bad", label: `Remove ${user.name}` }),
      );
    }
    return buttons;
  }

  function edit(title, submit, path, row) {
    const text = (value) => (value === null || value === undefined ? "" : String(value));
    form(title, [
      ...(row ? [] : [["name", "Name", { required: true, whole: true }]]),
      ["budget_usd", "Budget in USD", { type: "number", value: text(row?.budget?.usd), hint: "Empty: no budget." }],
      ["budget_per", "each", { options: PERIODS, value: row?.budget?.per ?? "month" }],
      ["requests_per_minute", "Requests a minute", { type: "number", value: text(row?.requests_per_minute) }],
      ["tokens_per_minute", "Tokens a minute", { type: "number", value: text(row?.tokens_per_minute) }],
    ], submit, async (values) => {
      await write("PUT", path(values.name), {
        budget: values.budget_usd === "" ? null : { usd: number(values.budget_usd), per: values.budget_per, ...(row?.budget ? { unpriced: row.budget.unpriced } : {}) },
        requests_per_minute: number(values.requests_per_minute),
        tokens_per_minute: number(values.tokens_per_minute),
      });
      await load();
      announce("Saved.");
    });
  }

  function remove(name, path, text) {
    confirm(`Remove ${name}?`, text, "Remove", async () => {
      await write("DELETE", path);
      await load();
      announce(`${name} is removed.`);
    });
  }

  await load();
}

const team = (name) => `/api/teams/${encodeURIComponent(name)}`;
const person = (name, user) => `${name ? team(name) : "/api/teams/-"}/users/${encodeURIComponent(user)}`;

function usage(query, name) {
  const node = link(`/usage?${new URLSearchParams(query)}`, "Usage", `Usage of ${name}`);
  node.className = "as-button";
  return node;
}
