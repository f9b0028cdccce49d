// One exchange: what is known of it, when its events came, and its wires. The answer's three columns stand side by side, so that
// what one event of the upstream became is read from left to right.

import { element, gistNode, pretty } from "./json.js";

const PANES = {
  client: "client → us",
  up: "us → upstream",
  down: "upstream → us",
  hub: "hub events",
  out: "us → client",
};
const ORDER = Object.keys(PANES);
const LANE = 17; // pixels
const GUTTER = 104;

export const count = (value) => (value >= 10000 ? `${(value / 1000).toFixed(1)}k` : String(value));
export const money = (usd) => (usd >= 0.01 ? `$${usd.toFixed(2)}` : `$${usd.toPrecision(2).replace(/e-(\d)$/, "e-0$1")}`);
export const duration = (ms) => (ms === undefined ? "" : ms >= 10000 ? `${(ms / 1000).toFixed(1)} s` : ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(ms < 1 ? 2 : 1)} ms`);

export class Exchange {
  constructor(root) {
    this.root = root;
    this.find = (id) => root.querySelector(`#${id}`);
    this.paused = false;
    this.source = null;
    this.find("wires").addEventListener("keydown", (event) => this.key(event));
    const canvas = this.find("lanes");
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("click", (event) => this.seek(event));
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  open(id, row) {
    this.close();
    this.row = row;
    this.records = [];
    this.held = [];
    this.group = null; // the line of the answer that is being filled
    this.filled = -1; // how far to the right
    this.attempt = 0;
    this.bodies = new Map();
    this.all = false;
    this.find("requests").replaceChildren();
    this.find("answer").replaceChildren();
    this.find("wires").scrollTop = 0;
    this.summarise();
    this.draw();
    this.source = new EventSource(`/inspector/live/${id}`);
    // a stream that broke begins anew, with all records
    this.source.addEventListener("open", () => this.restart());
    this.source.addEventListener("row", (event) => this.take(JSON.parse(event.data), []));
    this.source.addEventListener("records", (event) => this.take(null, JSON.parse(event.data)));
    this.source.addEventListener("gone", () => this.source.close());
  }

  restart() {
    if (!this.records.length) return;
    this.records = [];
    this.group = null;
    this.filled = -1;
    this.attempt = 0;
    this.bodies.clear();
    this.find("requests").replaceChildren();
    this.find("answer").replaceChildren();
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  pause(now) {
    this.paused = now;
    if (!now && this.held?.length) this.take(this.heldRow, this.held.splice(0));
  }

  take(row, records) {
    if (this.paused) {
      this.heldRow = row ?? this.heldRow;
      this.held.push(...records);
      return;
    }
    if (row) {
      this.row = row;
      this.summarise();
    }
    if (!records.length) return;
    const wires = this.find("wires");
    const atEnd = wires.scrollTop + wires.clientHeight > wires.scrollHeight - 40 && wires.scrollTop > 0;
    for (const record of records) this.place(record);
    this.records.push(...records);
    this.draw();
    if (atEnd && !this.row.done) wires.scrollTop = wires.scrollHeight;
  }

  // ---- what is known ----

  summarise() {
    const row = this.row;
    const title = element(
      "div",
      "title",
      element("h2", "", row.model || "—"),
      element("span", "way", pill(row.shape, "client"), ...(row.upstream_api ? [bridge(row), pill(row.upstream_api, "upstream")] : [])),
      element("span", "status", row.done ? status(row) : "open"),
    );
    title.querySelector(".status").dataset.state = !row.done ? "open" : row.error || row.status >= 400 ? "failed" : "well";
    const facts = element(
      "dl",
      "facts",
      fact("request", row.request_id, "mono"),
      fact("key", row.key),
      fact("headers", row.ms_headers !== undefined && duration(row.ms_headers)),
      fact("first token", row.ms_first !== undefined && duration(row.ms_first)),
      fact("end", row.ms_total !== undefined && duration(row.ms_total)),
      fact("tokens", row.tokens && `${row.tokens.input} in${row.tokens.cached ? ` (${row.tokens.cached} cached)` : ""}, ${row.tokens.output} out`),
      fact("cost", row.cost !== undefined && money(row.cost)),
      fact("stop", row.stop),
    );
    const notes = element("div", "notes", ...names("dropped", row.dropped), ...names("adapted", row.adapted), ...names("not in the answer", row.response_dropped));
    if (row.error) notes.append(element("p", "error", element("strong", "", row.error), ` ${row.error_message ?? ""}`));
    this.find("summary").replaceChildren(title, facts, ...(notes.childNodes.length ? [notes] : []), ...attempts(row));
  }

  // ---- when ----

  draw() {
    const canvas = this.find("lanes");
    const width = canvas.parentElement.clientWidth;
    if (!width || !this.records) return;
    const height = LANE * ORDER.length + 18;
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.height = `${height}px`;
    const style = getComputedStyle(this.root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const last = this.records.length ? this.records[this.records.length - 1].at : 0;
    this.span = Math.max(this.row.ms_total ?? 0, last, 1) * 1.01;
    this.x = (at) => GUTTER + (at / this.span) * (width - GUTTER - 12);
    const hues = { client: colour(`--${this.row.shape}`), up: colour(`--${this.row.upstream_api ?? "hub"}`), down: colour(`--${this.row.upstream_api ?? "hub"}`), hub: colour("--hub"), out: colour(`--${this.row.shape}`) };
    ORDER.forEach((pane, index) => {
      const y = index * LANE;
      pen.fillStyle = index % 2 ? "transparent" : colour("--stripe");
      pen.fillRect(0, y, width, LANE);
      pen.fillStyle = colour("--soft");
      pen.fillText(PANES[pane], 10, y + LANE / 2 + 0.5);
    });
    pen.fillStyle = colour("--soft");
    const bottom = LANE * ORDER.length;
    for (const at of ticks(this.span)) {
      const x = Math.round(this.x(at)) + 0.5;
      pen.strokeStyle = colour("--line");
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, bottom + 3);
      pen.stroke();
      pen.textAlign = x > width - 30 ? "right" : "center";
      pen.fillText(at ? duration(at) : "0", x, bottom + 11);
    }
    pen.textAlign = "left";
    for (const record of this.records) {
      const x = this.x(record.at);
      const y = ORDER.indexOf(record.pane) * LANE;
      const big = record.kind === "head" || record.kind === "body";
      pen.fillStyle = record.kind === "note" ? colour("--failed") : hues[record.pane];
      pen.globalAlpha = big ? 1 : 0.75;
      if (big) pen.fillRect(x - 2, y + 3, 4, LANE - 6);
      else pen.fillRect(x - 0.75, y + 4, 1.5, LANE - 8);
    }
    pen.globalAlpha = 1;
  }

  moment(event) {
    const box = this.find("lanes").getBoundingClientRect();
    const x = event.clientX - box.left;
    return Math.max(0, ((x - GUTTER) / (box.width - GUTTER - 12)) * this.span);
  }

  hover(event) {
    const out = this.find("at");
    out.hidden = !event || !this.span;
    if (out.hidden) return;
    const at = this.moment(event);
    const near = nearest(this.records, at);
    out.textContent = near ? `${duration(at)}   ${PANES[near.pane]}: ${near.name}` : duration(at);
    const box = this.find("lanes").getBoundingClientRect();
    out.style.left = `${Math.min(event.clientX - box.left, box.width - out.offsetWidth - 8)}px`;
  }

  seek(event) {
    const near = nearest(this.records, this.moment(event));
    if (!near?.node) return;
    near.node.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    this.mark(near.node.closest(".group") ?? near.node);
  }

  // ---- the wires ----

  place(record) {
    if (record.pane === "client" || record.pane === "up") this.placeRequest(record);
    else this.placeAnswer(record);
  }

  placeRequest(record) {
    const attempt = record.pane === "client" ? 0 : record.attempt;
    let sheet = this.bodies.get(attempt);
    if (!sheet) {
      sheet = element("div", "sheet");
      this.bodies.set(attempt, sheet);
      this.pane(record.pane).append(sheet);
      if (attempt > 1) this.tabs();
    }
    if (record.kind === "head") {
      sheet.append(element("p", "start", element("span", "mono", record.name), element("time", "", `+${duration(record.at)}`)), folded("headers", record, headers(record.text)));
    } else {
      const body = folded("body", record, element("pre", "json", pretty(record.text)));
      body.open = true;
      sheet.append(body);
    }
    record.node = sheet.parentElement;
  }

  pane(name) {
    const existing = this.find("requests").querySelector(`.pane[data-pane="${name}"]`);
    if (existing) return existing;
    const spoken = name === "client" ? this.row.shape : this.row.upstream_api;
    const pane = element("article", `pane ${spoken}`, element("h3", "", PANES[name], element("span", "tabs"), pill(spoken)));
    pane.dataset.pane = name;
    this.find("requests").append(pane);
    return pane;
  }

  // several attempts share a pane; the latest is shown
  tabs() {
    const pane = this.pane("up");
    const numbers = [...this.bodies.keys()].filter((number) => number > 0);
    const show = (chosen) => {
      for (const number of numbers) this.bodies.get(number).hidden = number !== chosen;
      for (const tab of pane.querySelectorAll(".tabs button")) tab.setAttribute("aria-pressed", String(tab.textContent === String(chosen)));
    };
    const buttons = numbers.map((number) => {
      const button = element("button", "", String(number));
      button.type = "button";
      button.title = `attempt ${number}`;
      button.addEventListener("click", () => show(number));
      return button;
    });
    pane.querySelector(".tabs").replaceChildren("attempt", ...buttons);
    show(numbers[numbers.length - 1]);
  }

  placeAnswer(record) {
    const answer = this.find("answer");
    if (!answer.childNodes.length) answer.append(this.columns());
    const column = ["down", "hub", "out"].indexOf(record.pane);
    // one read of the upstream makes events in all columns: what comes further to the left than before begins a new line
    const apart = column < this.filled || (column === 0 && this.filled === 0 && record.at !== this.since);
    if (!this.group || apart || record.attempt !== this.attempt) {
      if (record.attempt !== this.attempt && record.attempt > 1 && column === 0) answer.append(element("p", "again", `attempt ${record.attempt}: ${this.row.attempts?.[record.attempt - 1]?.upstream ?? ""}`));
      this.group = element("div", "group", element("time", "", duration(record.at) || "0"), ...["down", "hub", "out"].map((pane) => cell(pane)));
      this.group.tabIndex = -1;
      answer.append(this.group);
    }
    if (column === 0) this.since = record.at;
    this.filled = column;
    this.attempt = record.attempt;
    record.node = this.event(record);
    this.group.children[column + 1].append(record.node);
  }

  columns() {
    const row = this.row;
    const head = element(
      "div",
      "columns",
      element("span", ""),
      element("h3", row.upstream_api, PANES.down, row.upstream_api ? pill(row.upstream_api) : null),
      element("h3", "hub", PANES.hub, row.lane === "bytes" ? element("small", "", "not needed: carried as bytes") : null),
      element("h3", row.shape, PANES.out, pill(row.shape)),
    );
    this.find("answer").classList.toggle("bytes", row.lane === "bytes");
    return head;
  }

  event(record) {
    const button = element("button", "name", element("span", "", record.name));
    button.type = "button";
    button.tabIndex = -1;
    const node = element("div", `event ${record.kind}`, button);
    if (record.kind === "head") button.append(element("span", "gist", headerCount(record.text)));
    else if (record.text) button.append(gistNode(record.text, record.kind));
    if (record.size && record.kind !== "head") button.append(element("span", "size", bytes(record.size)));
    if (!record.text) button.disabled = true;
    else button.setAttribute("aria-expanded", "false");
    const toggle = (on) => {
      const open = on ?? !node.classList.contains("open");
      node.classList.toggle("open", open && Boolean(record.text));
      if (record.text) button.setAttribute("aria-expanded", String(open));
      if (open && record.text && node.childNodes.length === 1) node.append(record.kind === "head" ? headers(record.text) : element("pre", "json", pretty(record.text)));
    };
    node.toggle = toggle;
    button.addEventListener("click", () => {
      this.mark(node.closest(".group"));
      toggle();
    });
    if (this.all || record.kind === "body") toggle(true);
    return node;
  }

  // ---- keys ----

  focus() {
    const first = this.root.querySelector(".group.marked") ?? this.root.querySelector(".group");
    if (first) this.mark(first);
    else this.find("wires").focus();
  }

  mark(node) {
    for (const old of this.root.querySelectorAll(".marked")) old.classList.remove("marked");
    node?.classList.add("marked");
    node?.focus({ preventScroll: true });
    node?.scrollIntoView({ block: "nearest" });
  }

  toggleAll() {
    this.all = !this.all;
    for (const node of this.root.querySelectorAll(".answer .event")) node.toggle(this.all);
  }

  key(event) {
    const groups = [...this.root.querySelectorAll(".group")];
    const at = groups.findIndex((node) => node.classList.contains("marked"));
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -1e9, End: 1e9, PageDown: 12, PageUp: -12 }[event.key];
    if (by && groups.length) {
      event.preventDefault();
      if (at === 0 && by < 0) this.find("wires").scrollTop = 0;
      this.mark(groups[Math.max(0, Math.min(groups.length - 1, at < 0 ? 0 : at + by))]);
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0 && !event.target.matches("button, summary")) {
      event.preventDefault();
      const events = [...groups[at].querySelectorAll(".event")];
      const open = !events.some((node) => node.classList.contains("open"));
      for (const node of events) node.toggle(open);
    }
  }
}

// ---- pieces ----

function pill(name, side) {
  const node = element("span", `shape ${name}`, name);
  if (side) node.title = `what the ${side} speaks`;
  return node;
}

function bridge(row) {
  const same = row.lane === "bytes";
  const node = element("span", "bridge", same ? "carried as bytes" : "translated");
  node.dataset.lane = row.lane;
  return node;
}

function status(row) {
  if (row.status === 499) return "client left";
  return row.error && row.status < 400 ? `${row.status}, then failed` : String(row.status);
}

function fact(name, value, className) {
  return value ? element("div", "", element("dt", "", name), element("dd", className, value)) : null;
}

function names(label, list) {
  return list?.length ? [element("p", `tags ${label.split(" ")[0]}`, element("span", "label", label), ...list.map((name) => element("code", "", name)))] : [];
}

function attempts(row) {
  const list = row.attempts ?? [];
  if (!list.length) return [];
  return [
    element(
      "ol",
      "attempts",
      ...list.map((attempt, index) => {
        const failed = Boolean(attempt.error);
        const node = element(
          "li",
          failed ? "failed" : "",
          element("span", "number", String(index + 1)),
          element("strong", "", attempt.why.slice(0, attempt.why.indexOf(": ")) || attempt.upstream),
          element("span", "why", attempt.why.slice(attempt.why.indexOf(": ") + 2)),
          element("span", "came", failed ? `${attempt.error}: ${attempt.message}` : attempt.overtaken ? "overtaken" : attempt.status ? `${attempt.status}` : "…", attempt.ms !== undefined ? ` in ${duration(attempt.ms)}` : ""),
        );
        return node;
      }),
    ),
  ];
}

function cell(pane) {
  const node = element("div", `cell ${pane}`);
  node.dataset.pane = PANES[pane];
  return node;
}

function headerCount(text) {
  const number = text.split("\n").filter(Boolean).length;
  return `${number} header${number === 1 ? "" : "s"}`;
}

function folded(label, record, inner) {
  const node = element("details", "", element("summary", "", label, element("span", "size", bytes(record.size))), inner);
  return node;
}

function headers(text) {
  const list = element("dl", "headers");
  for (const line of text.split("\n")) {
    const at = line.indexOf(": ");
    if (at < 0) continue;
    const value = line.slice(at + 2);
    const size = /^‹(\d+)›$/.exec(value);
    list.append(element("div", "", element("dt", "", line.slice(0, at)), element("dd", size ? "hidden" : "", size ? `${size[1]} characters` : value)));
  }
  return list;
}

function bytes(size) {
  return size >= 1 << 20 ? `${(size / (1 << 20)).toFixed(1)} MB` : size >= 10240 ? `${Math.round(size / 1024)} KB` : `${size} B`;
}

function nearest(records, at) {
  let nearest = null;
  for (const record of records ?? []) if (!nearest || Math.abs(record.at - at) < Math.abs(nearest.at - at)) nearest = record;
  return nearest;
}

function ticks(span) {
  const rough = span / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  return Array.from({ length: Math.floor(span / step) + 1 }, (_, index) => index * step);
}
