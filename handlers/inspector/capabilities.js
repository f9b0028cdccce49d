// The page of /capabilities: asks for the JSON of one model, and shows it as a table for each caller's shape and upstream.

const form = document.getElementById("ask");
const state = document.getElementById("state");
const callers = document.getElementById("callers");
const query = new URLSearchParams(location.search);
let asked = 0;

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = kind;
  return made;
}

function row(field, api) {
  const line = element("tr");
  const parts = [...field.details];
  if (field.into.length && field.outcome !== "refused") parts.push(`in ${field.into.join(", ")}`);
  if (!field.into.length && field.outcome === "carried") parts.push("needs nothing of the upstream");
  if (field.api !== api) parts.push(`over ${field.api}`);
  if (field.learned.length) parts.push(`learned: ${field.learned.join(", ")}`);
  line.append(element("td", field.field), element("td", field.outcome, field.outcome), element("td", parts.join("; ")));
  return line;
}

function section(shape, upstream, losses) {
  const made = element("section");
  made.append(element("h2", `${shape} → ${upstream.upstream}`), element("p", `${upstream.api}, ${upstream.lane}: ${upstream.why}`));
  made.append(...upstream.learned.map((text) => element("p", text)));
  const table = element("table"), head = element("tr");
  head.append(element("th", "Field"), element("th", "Outcome"), element("th", "How"));
  table.append(head, ...upstream.fields.filter((one) => !losses || one.outcome !== "carried").map((one) => row(one, upstream.api)));
  made.append(table);
  return made;
}

async function show() {
  const number = ++asked;
  const model = form.elements.model.value.trim();
  state.textContent = "…";
  const answer = await fetch(`/capabilities?${new URLSearchParams({ model, format: "json" })}`);
  const table = await answer.json();
  if (number !== asked) return;
  callers.replaceChildren();
  state.textContent = answer.ok ? "" : table.error;
  for (const [shape, upstreams] of Object.entries(table.callers ?? {})) {
    callers.append(...upstreams.map((one) => section(shape, one, form.elements.losses.checked)));
  }
  history.replaceState(null, "", model ? `?${new URLSearchParams({ model })}` : location.pathname);
}

form.elements.model.value = query.get("model") ?? "";
form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
form.elements.losses.addEventListener("change", show);
show();
