// What all pages of a team share: who is signed in, the way between the pages, light and dark. Each page is a module of its own, whose
// `show(root, session)` fills the main part; `session` says what its reader may do.

import { element } from "/inspector/json.js";
import { failed, leave, session, write } from "./kit.js";

const ALL = ["admin", "viewer", "key"];
const OPERATORS = ["admin", "viewer"];
const PAGES = {
  overview: ["Overview", OPERATORS],
  usage: ["Usage", ALL],
  requests: ["Requests", ALL],
  keys: ["Keys", ALL],
  teams: ["Teams", OPERATORS],
  models: ["Models", ALL],
  audit: ["Audit", OPERATORS],
};

function link(href, text, current) {
  const node = element("a", "", text);
  node.href = href;
  if (current) node.setAttribute("aria-current", "page");
  return node;
}

function navigate(role, now) {
  const own = Object.entries(PAGES).filter(([, [, roles]]) => roles.includes(role));
  const links = own.map(([name, [label]]) => link(`/${name}`, label, name === now));
  if (OPERATORS.includes(role)) links.push(link("/", "Inspector", false));
  document.getElementById("nav").replaceChildren(...links);
  document.querySelector("#nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function otherTheme() {
  localStorage.setItem("dragoman-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  dispatchEvent(new Event("storage"));
}

async function start() {
  const root = document.getElementById("page");
  const now = location.pathname.slice(1);
  try {
    const own = await session();
    if (!PAGES[now][1].includes(own.role)) return location.replace("/usage");
    document.title = `${PAGES[now][0]} · Dragoman`;
    document.querySelector(".home").href = own.role === "key" ? "/usage" : "/overview";
    document.getElementById("who").textContent = own.role === own.name ? own.name : `${own.name} (${own.role === "key" ? "key holder" : own.role})`;
    navigate(own.role, now);
    root.append(element("h1", "", PAGES[now][0]));
    const page = await import(`./${now}.js`);
    await page.show(root, own);
  } catch (error) {
    failed(error);
  }
  root.setAttribute("aria-busy", "false");
  return undefined;
}

document.getElementById("theme").addEventListener("click", otherTheme);
document.getElementById("leave").addEventListener("click", () => write("DELETE", "/api/session").then(leave, failed));
start();
