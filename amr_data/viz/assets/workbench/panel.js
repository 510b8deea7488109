// One clip: the viewer, where it comes from, what is odd about it, and what is decided about it.
import { $, about, el, say } from "./dom.js";
import { decide, json } from "./api.js";
import { address, change, state } from "./state.js";
import { toggled } from "./terms.js";

const box = $("panel");
let shown = null, frame = null, begin = false, asked = 0, changed = () => {};
let saving = Promise.resolve(), unsaved = 0;
export const onDecision = (told) => { changed = told; };
export const neighbour = (side) => { if (shown?.[side]) change({ clip: shown[side], frame: "" }); };
export const close = () => change({ clip: "", frame: "" });

export async function showPanel() {
  const ticket = ++asked;
  if (shown && shown.name !== state.clip && document.activeElement === $("note")) $("note").blur(); // which saves it
  if (!state.clip) {
    shown = null; frame = null;
    box.hidden = true;
    box.replaceChildren();
    document.body.classList.remove("with-panel");
    return;
  }
  if (shown?.name === state.clip) return seek();
  await saving; // or an answer older than what was written is shown
  let found;
  try { found = await json("clip", { name: state.clip, q: state.q, sort: state.sort || "index", by: state.by }); } catch (error) { found = { error }; }
  if (ticket !== asked) return;
  document.body.classList.add("with-panel");
  box.hidden = false;
  if (found.error) {
    shown = null; frame = null;
    box.replaceChildren(bar(state.clip), el("p", { role: "alert", className: "trouble" }, found.error.message));
    return;
  }
  shown = found;
  begin = false;
  frame = el("iframe", { src: `viewer/${found.index}`, title: `viewer of ${found.name}`, onload: begun });
  box.replaceChildren(bar(found.name), frame, el("div", { id: "about-clip" }));
  tell();
  box.scrollTop = 0;
}

function bar(name) {
  const button = (id, label, title, does) => el("button", { id, title, aria: { label: title }, onclick: does }, label);
  return el("div", { id: "panel-bar" }, button("before", "←", "the clip before (p)", () => neighbour("before")), button("after", "→", "the next clip (n)", () => neighbour("after")),
    el("h2", {}, name), button("copy", "Link", "copy a link to this clip and frame", copy), button("close", "×", "close (Esc)", close));
}

async function copy() {
  keepFrame();
  const link = new URL(address(), location.href).href;
  try { await navigator.clipboard.writeText(link); $("copy").textContent = "Copied"; } catch { prompt("the link to this clip and frame", link); }
  setTimeout(() => { if ($("copy")) $("copy").textContent = "Link"; }, 1500);
}

function tell() {
  $("before").disabled = !shown.before;
  $("after").disabled = !shown.after;
  const dl = (rows) => el("dl", {}, ...rows.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));
  const rows = Object.entries(shown.rows).filter(([key]) => key !== "synthetic");
  const recipe = Object.entries(shown.recipe).filter(([, value]) => !["", "None", "False"].includes(value)).map(([key, value]) => (value === "True" ? key : key === "name" ? value : `${key} ${value}`)).join(", ");
  const cleaning = shown.cleaning.length ? el("ul", {}, ...shown.cleaning.map((line) => el("li", {}, line))) : "nothing was left out";
  const scale = shown.scale === 1 ? [] : [["joints divided by", `${shown.scale.toPrecision(4)} m`]];
  $("about-clip").replaceChildren(
    deciding(),
    ...(shown.found.length ? [el("h3", {}, "Faults"), el("ul", { className: "faults" }, ...shown.found.map(fault))] : []),
    ...(Object.keys(shown.taken).length ? [el("h3", {}, `Judged by ${about.run}`), dl(Object.entries(shown.taken).map(([title, label]) => [title, taken(title, label)]))] : []),
    el("h3", {}, "Provenance"), dl([...rows, ["recipe", recipe], ["cleaning", cleaning], ...scale]),
  );
}

function taken(title, label) {
  if (label === null) return "not judged";
  if (label === shown.class) return `${label}, which is right`;
  return el("button", { className: "quiet wrong", title: "clips that are mistaken in this way", onclick: () => mistakes(title, label) }, `${label}, which is wrong`);
}

function mistakes(by, label) {
  const quoted = (value) => `"${value.replace(/[\\"]/g, "\\$&")}"`;
  change({ q: `class:${quoted(shown.class)} predicted:${quoted(label)}`, by });
}

function fault({ kind, words, severity, frame: at }) {
  const where = at === null ? "" : el("button", { className: "quiet", onclick: () => { change({ frame: at }, "replace"); seek(); } }, `frame ${at}`);
  const alike = el("button", { className: "quiet", title: "all clips with this fault", onclick: () => change({ q: toggled("fault", kind) }) }, kind);
  return el("li", {}, alike, ` ${words}, ${severity.toFixed(1)} times the limit `, where);
}

// --- decisions --------------------------------------------------------------------------------------------------------------------------
// Only what is changed is sent, since another tab may have changed the rest, and one change after the other. The
// buttons stay the same elements: a click whose first half ends the writing of a note still is one.
function deciding() {
  const choice = (value, label, title) => el("button", { className: value || "none", title, dataset: { decision: value }, onclick: () => save({ decision: value }) }, label);
  const note = el("textarea", { id: "note", rows: 2, maxLength: 2000, placeholder: "a note", aria: { label: "note" }, value: shown.note, onchange: () => save({ note: note.value }) });
  const made = el("div", { id: "deciding" }, el("div", { className: "choices", role: "group", aria: { label: "decision" } }, choice("keep", "Keep", "keep (k)"), choice("exclude", "Exclude from training", "exclude from training (x)"), choice("", "Undecided", "undecided (u)")), note, el("p", { id: "saved", role: "status" }));
  pressed(made, shown.decision);
  return made;
}

function pressed(within, decision) {
  for (const button of within.querySelectorAll("[data-decision]")) button.setAttribute("aria-pressed", String(button.dataset.decision === decision));
}

export async function decideNow(decision) { if (shown) await save({ decision }); }

function save(differs) {
  const clip = shown;
  unsaved += 1;
  saving = saving.then(() => write(clip, differs)).finally(() => { unsaved -= 1; });
  return saving;
}

async function write(clip, differs) {
  let now;
  try {
    now = await decide(clip.name, differs);
  } catch (error) {
    if (shown === clip) said(`not saved: ${error.message}`, true);
    else say(`${clip.name}: not saved: ${error.message}`);
    return;
  }
  Object.assign(clip, now);
  if (shown === clip) {
    pressed($("deciding"), clip.decision);
    if (document.activeElement !== $("note")) $("note").value = clip.note;
    said(unsaved > 1 ? "" : "saved", false);
  }
  changed();
}

function said(text, wrong) {
  $("saved").className = wrong ? "trouble" : "";
  $("saved").textContent = text;
}

// --- the viewer's frame: it is told where to begin, and asked where it stands, by its own slider -------------------------------------
const inside = (id) => frame?.contentDocument?.getElementById(id);
const ready = () => frame?.contentDocument?.body?.dataset?.ready;

async function begun() {
  for (let i = 0; i < 200 && !ready(); i++) await new Promise((done) => setTimeout(done, 25));
  theme();
  seek();
  begin = true;
}

export function theme() {
  const wanted = document.documentElement.dataset.theme, theirs = frame?.contentDocument?.documentElement;
  if (ready() && theirs.dataset.theme !== wanted) inside("theme")?.click();
}

function seek() {
  const slider = inside("scrub");
  if (!slider || !ready() || state.frame === "" || slider.value === state.frame) return;
  slider.value = state.frame;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

function keepFrame() {
  const slider = inside("scrub");
  if (slider && begin && ready() && shown?.name === state.clip && inside("play")?.getAttribute("aria-pressed") !== "true") {
    const at = slider.value === "0" ? "" : slider.value;
    if (at !== state.frame && !(at === "" && state.frame === "0")) change({ frame: at }, "replace");
  }
}
setInterval(keepFrame, 300);
