// JSON as nodes: indented, coloured, and with what was hidden shown as such. Nothing is ever set as HTML.

const HIDDEN = /^‹(\d+)( members)?›$/;
const INLINE = 60; // characters of an object or list that stays on its line

export function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function pretty(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return element("span", "plain", text);
  }
  const out = document.createDocumentFragment();
  write(out, value, "");
  return out;
}

function write(out, value, indent) {
  if (value === null || typeof value !== "object") return out.append(scalar(value));
  const list = Array.isArray(value);
  const members = list ? value.map((inner) => [null, inner]) : Object.entries(value);
  const [open, close] = list ? "[]" : "{}";
  if (!members.length) return out.append(element("span", "mark", open + close));
  const short = flat(value);
  const deeper = indent + "  ";
  const before = short ? (list ? "" : " ") : "\n" + deeper;
  const after = short ? (list ? "" : " ") : "\n" + indent;
  out.append(element("span", "mark", open));
  members.forEach(([key, inner], index) => {
    out.append(index ? element("span", "mark", ",") : "", index && short ? " " : before);
    if (key !== null) out.append(element("span", "key", JSON.stringify(key)), element("span", "mark", ": "));
    write(out, inner, deeper);
  });
  out.append(after, element("span", "mark", close));
  return undefined;
}

function flat(value) {
  const inner = Object.values(value);
  return inner.every((one) => one === null || typeof one !== "object") && JSON.stringify(value).length <= INLINE;
}

function scalar(value) {
  if (typeof value === "string") return hidden(value) ?? element("span", "string", JSON.stringify(value));
  return element("span", value === null ? "null" : typeof value, String(value));
}

function hidden(text) {
  const label = size(text);
  return label && element("span", "hidden", label);
}

function size(text) {
  const match = HIDDEN.exec(text);
  return match && `${match[1]} ${match[2] ? "member" : "character"}${match[1] === "1" ? "" : "s"}`;
}

// ---- one line of an event ----

// members that hold what an event is about, in every shape and in the hub's own words
const TELLING = new Set(["text", "content", "delta", "thinking", "reasoning_content", "reasoning", "partial_json", "arguments", "refusal", "message", "value"]);
const DULL = new Set(["id", "object", "model", "type", "created", "role", "sequence_number", "output_index", "content_index", "part", "index"]);

export function gist(text, kind) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return kind === "body" ? "" : text.slice(0, 80).replaceAll("\n", "  ");
  }
  const words = telling(value, 0);
  if (words !== null) return words;
  if (value === null || typeof value !== "object") return "";
  const rest = Object.entries(value).filter(([key, inner]) => !DULL.has(key) && inner !== null && inner !== false && inner !== "" && typeof inner !== "object");
  return rest.slice(0, 4).map(([key, inner]) => `${key} ${inner}`).join("  ");
}

function telling(value, depth) {
  if (value === null || typeof value !== "object" || depth > 6) return null;
  for (const [key, inner] of Object.entries(value)) {
    if (TELLING.has(key) && typeof inner === "string" && inner) return inner;
  }
  for (const inner of Object.values(value)) {
    const words = telling(inner, depth + 1);
    if (words !== null) return words;
  }
  return null;
}

export function gistNode(text, kind) {
  const summary = gist(text, kind);
  const label = size(summary);
  return label ? element("span", "gist hidden", label) : element("span", "gist", summary.slice(0, 300));
}
