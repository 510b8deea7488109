// The workbench: asks the server what the address says, and shows it.
import { $, about, say } from "./dom.js";
import { json } from "./api.js";
import { change, listen, state } from "./state.js";
import { took } from "./terms.js";
import { drawFacets } from "./facets.js";
import { drawOverview } from "./overview.js";
import { forgetRows, inWords, markCurrent, redraw, setMoving, showGrid } from "./grid.js";
import { close, decideNow, neighbour, onDecision, showPanel, theme as themePanel } from "./panel.js";
import { markOnMap, showFound, showMap } from "./map.js";

const narrow = matchMedia("(max-width: 760px)");
let asked = 0, typing = 0, typed = false, version = -1, timer = 0;

async function search(keepPlace = false) {
  const ticket = ++asked;
  let found;
  try {
    found = await json("search", { q: state.q, sort: state.sort || "index", by: state.by });
  } catch (error) {
    if (ticket === asked) { say(error.message); document.body.dataset.ready = "1"; }
    return;
  }
  if (ticket !== asked) return;
  say(found.trouble.join("; "));
  took(found.terms);
  drawFacets(found.facets, found.at_work);
  showFound(found.rejects ? null : Uint8Array.from(atob(found.bits), (c) => c.charCodeAt(0)));
  $("count").textContent = inWords(found.total, found.rejects);
  rejects(found.rejects, found.total);
  await showGrid(found.rejects ? 0 : found.total, keepPlace);
  document.body.dataset.ready = "1";
  if (found.version !== version && version >= 0) drawOverview();
  version = found.version;
  clearTimeout(timer);
  if (Object.keys(found.at_work).length) timer = setTimeout(() => follow(found.version), 700);
}

// what is being worked out meanwhile, until something new is known
async function follow(before) {
  let found;
  try { found = await drawOverview(); } catch { return; }
  if (Object.keys(found.at_work).length && found.version === before) { timer = setTimeout(() => follow(before), 700); return; }
  await search(true);
}

function rejects(rows, total) {
  const table = $("rejects"), body = table.tBodies[0];
  table.hidden = !rows;
  body.replaceChildren(...(rows || []).map((row) => {
    const line = document.createElement("tr");
    for (const text of [row.source, row.reason, row.detail]) line.insertCell().textContent = text;
    return line;
  }));
  if (rows && rows.length < total) body.insertRow().insertCell().textContent = `the first ${rows.length.toLocaleString("en")}; all are in rejects.jsonl`;
}

listen((before) => {
  const differs = (...keys) => keys.some((key) => before[key] !== state[key]);
  if (document.activeElement !== $("search") || !typed) $("search").value = state.q;
  $("sort").value = state.sort || "index";
  $("by").value = state.by || about.figures[0] || "";
  if (differs("q", "sort", "by")) search();
  if (differs("map", "colour", "by")) showMap();
  if (!before.map && state.map) $("map").scrollIntoView({ block: "start" });
  if (differs("clip", "frame")) showPanel();
  if (differs("clip")) { markCurrent(); followClip(); }
});

async function followClip() {
  if (!state.clip || !state.map) return markOnMap(-1);
  try { markOnMap((await json("clip", { name: state.clip })).index); } catch { markOnMap(-1); }
}

onDecision(async () => { forgetRows(); await search(true); });

// --- controls ---------------------------------------------------------------------------------------------------------------------------
$("searching").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); commit("push"); typed = false; });
$("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { commit(typed ? "replace" : "push"); typed = true; }, 180); });
$("search").addEventListener("blur", () => { typed = false; });
const commit = (how) => change({ q: $("search").value.trim() }, how);
$("clear").addEventListener("click", () => { $("search").value = ""; change({ q: "" }); });
$("sort").addEventListener("change", () => change({ sort: $("sort").value === "index" ? "" : $("sort").value }));
$("by").addEventListener("change", () => change({ by: $("by").value === about.figures[0] ? "" : $("by").value }));
$("show-map").addEventListener("click", () => change({ map: state.map ? "" : about.maps[0] }));
$("menu").addEventListener("click", () => menu(!document.body.classList.contains("with-facets")));

function menu(open) {
  document.body.classList.toggle("with-facets", open);
  $("menu").setAttribute("aria-expanded", String(open));
}
$("main").addEventListener("pointerdown", () => menu(false));

function motion(on) { $("motion").setAttribute("aria-pressed", String(on)); setMoving(on); }
$("motion").addEventListener("click", () => motion($("motion").getAttribute("aria-pressed") !== "true"));

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  themePanel(); redraw(); showMap();
}
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme !== "dark";
  try { localStorage.setItem("theme", dark ? "dark" : "light"); } catch { /* a browser that keeps nothing */ }
  theme(dark);
});

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (document.body.classList.contains("with-facets")) menu(false);
    else if (state.clip) close();
    return;
  }
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
  const does = {
    "/": () => $("search").focus(), n: () => neighbour("after"), p: () => neighbour("before"), k: () => decideNow("keep"), x: () => decideNow("exclude"), u: () => decideNow(""),
    m: () => $("motion").click(), d: () => $("theme").click(),
  }[event.key];
  if (does) { event.preventDefault(); does(); }
});

// --- beginning --------------------------------------------------------------------------------------------------------------------------
const SORTS = { index: "as in the dataset", name: "name", class: "class", frames: "shortest first", "-frames": "longest first", energy: "quietest first", "-energy": "liveliest first", "-severity": "worst faults first" };
$("sort").replaceChildren(...Object.entries(SORTS).map(([key, title]) => new Option(title, key)));
$("by").replaceChildren(...about.figures.map((name) => new Option(name, name)));
$("figures").hidden = !about.figures.length;
$("show-map").hidden = !about.maps.length;
$("search").value = state.q;
$("sort").value = state.sort || "index";
$("by").value = state.by || about.figures[0] || "";
$("overview").open = !state.q && !state.clip && !state.map;
let kept = null;
try { kept = localStorage.getItem("theme"); } catch { /* a browser that keeps nothing */ }
theme(kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
motion(!matchMedia("(prefers-reduced-motion: reduce)").matches);
narrow.addEventListener("change", () => menu(false));
drawOverview().catch((error) => say(error.message));
search();
showPanel();
followClip();
