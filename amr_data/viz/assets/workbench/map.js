// Features of clips in the plane. A point is a clip: hovering names it, a click opens it, a drag selects.
import { $, about, colour, el } from "./dom.js";
import { bytes, json } from "./api.js";
import { change, state } from "./state.js";
import { replaced } from "./terms.js";

const canvas = $("map-canvas"), stage = $("map-stage"), NEAR = 9, MANY = 12;
let kinds = {}, kind = "", places = null, classes = null, colours = null, bits = null, found = null, names = null, brush = null;
const layer = document.createElement("canvas");
const COLOURS = [["class", "class"], ...(about.figures.length ? [["judged", "right or wrong"]] : []), ["energy", "energy"], ["frames", "frames"], ["severity", "worst fault"]];
const HUES = ["#4477aa", "#ee6677", "#228833", "#b8a020", "#66ccee", "#aa3377", "#e08030", "#8888aa", "#33a09a", "#a06a50"];

export async function showMap() {
  $("map").hidden = !state.map;
  $("show-map").setAttribute("aria-pressed", String(Boolean(state.map)));
  if (!state.map) return;
  const answer = await json("maps");
  kinds = answer.maps;
  const wanted = kinds[state.map] ? state.map : Object.keys(kinds)[0];
  $("map-kind").replaceChildren(...Object.entries(kinds).map(([key, title]) => new Option(title, key, false, key === wanted)));
  $("map-said").textContent = answer.at_work.map || (answer.at_work.faults && !kinds.tsne) ? "a better map is being made" : "";
  if (Object.keys(answer.at_work).length) setTimeout(() => { if (state.map) showMap(); }, 2000);
  if (wanted !== kind) {
    const buffer = await bytes(`map/${wanted}`);
    places = new Float32Array(buffer, 0, about.clips * 2);
    classes = new Uint16Array(buffer, about.clips * 8, about.clips);
    kind = wanted;
  }
  await paint();
}

export function showFound(mask) { bits = mask; if (state.map && places) draw(); }

async function paint() {
  const by = state.colour || "class";
  $("map-colour").value = by;
  try {
    colours = by === "class" ? classes : new Int16Array(await bytes(`values/${by}`, { by: state.by }));
  } catch (error) { $("map-said").textContent = error.message; colours = classes; }
  draw();
}

function ink(value, by) {
  if (by === "class") return HUES[value % HUES.length];
  if (by === "judged") return ["#228833", "#cc3311", "#99999966"][value] || "#999999";
  return `hsl(${250 - 2.1 * value} 75% ${30 + 0.28 * value}%)`;
}

function square() { // the map keeps its proportions
  const w = stage.clientWidth, h = stage.clientHeight, side = Math.min(w, h) - 12;
  return { side, left: (w - side) / 2, top: (h - side) / 2 };
}

function draw() {
  if (!places || $("map").hidden) return;
  const ratio = Math.min(devicePixelRatio, 2), { side, left, top } = square(), by = state.colour || "class";
  for (const one of [layer, canvas]) { one.width = stage.clientWidth * ratio; one.height = stage.clientHeight * ratio; }
  const context = layer.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const size = about.clips > 10000 ? 1.6 : about.clips > 2000 ? 2.2 : 3;
  const inside = (i) => !bits || (bits[i >> 3] >> (i & 7)) & 1;
  const faded = colour("--faded");
  for (const lit of [false, true]) for (let i = 0; i < about.clips; i++) {
    const x = places[2 * i];
    if (Number.isNaN(x) || Boolean(inside(i)) !== lit) continue;
    context.fillStyle = lit ? ink(colours[i], by) : faded;
    context.fillRect(left + x * side - size / 2, top + (1 - places[2 * i + 1]) * side - size / 2, size, size);
  }
  legend(by);
  show();
}

function legend(by) {
  const mark = (value, name) => { const dot = el("i", {}); dot.style.background = ink(value, by); return el("span", {}, dot, name); };
  if (by === "judged") $("map-legend").replaceChildren(mark(0, "right"), mark(1, "wrong"), mark(2, "not judged"));
  else if (by !== "class") $("map-legend").replaceChildren(mark(0, "least"), mark(50, ""), mark(100, "most (99th percentile)"));
  else {
    const seen = [...new Set(classes)].sort((a, b) => a - b);
    const some = seen.filter((label) => about.classes[label] !== undefined).slice(0, MANY).map((label) => mark(label, about.classes[label]));
    $("map-legend").replaceChildren(...some, seen.length > MANY ? el("span", { className: "faint" }, `and ${seen.length - MANY} more; point at one for its name`) : "");
  }
}

function show(at = -1) {
  const context = canvas.getContext("2d"), ratio = canvas.width / Math.max(1, stage.clientWidth), { side, left, top } = square();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(layer, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  for (const i of [at, found]) if (i !== null && i >= 0 && !Number.isNaN(places[2 * i])) {
    context.strokeStyle = colour("--ink");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(left + places[2 * i] * side, top + (1 - places[2 * i + 1]) * side, 6, 0, 7);
    context.stroke();
  }
}

export function markOnMap(index) { found = index; if (places && state.map) show(); }

// --- hover, click, brush ------------------------------------------------------------------------------------------------------------------
const spot = (event) => {
  const box = stage.getBoundingClientRect(), { side, left, top } = square();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  return { x, y, u: (x - left) / side, v: 1 - (y - top) / side };
};

function nearest({ u, v }) {
  const reach = NEAR / square().side;
  let best = -1, near = reach * reach;
  for (let i = 0; i < about.clips; i++) {
    if (bits && !((bits[i >> 3] >> (i & 7)) & 1)) continue;
    const d = (places[2 * i] - u) ** 2 + (places[2 * i + 1] - v) ** 2;
    if (d < near) { near = d; best = i; }
  }
  return best;
}

let asking = 0;
async function nameOf(index) {
  names = names || new Map();
  if (!names.has(index)) names.set(index, (await json("row", { index })).row);
  return names.get(index);
}

async function hint(at, here) {
  const box = $("map-hint"), ticket = ++asking;
  if (at < 0) { box.hidden = true; return; }
  let row;
  try { row = await nameOf(at); } catch { return; }
  if (ticket !== asking) return;
  box.textContent = `${row.class} · ${row.name}`;
  box.hidden = false;
  box.style.left = `${Math.max(0, Math.min(here.x + 12, stage.clientWidth - box.offsetWidth - 4))}px`;
  box.style.top = `${Math.max(0, here.y - 30)}px`;
}

canvas.addEventListener("pointerdown", (event) => {
  if (!places) return;
  canvas.setPointerCapture(event.pointerId);
  brush = spot(event);
});
canvas.addEventListener("pointermove", (event) => {
  if (!places) return;
  const here = spot(event);
  if (brush) {
    const box = $("map-brush");
    box.hidden = Math.hypot(here.x - brush.x, here.y - brush.y) < 5;
    box.style.left = `${Math.min(here.x, brush.x)}px`;
    box.style.top = `${Math.min(here.y, brush.y)}px`;
    box.style.width = `${Math.abs(here.x - brush.x)}px`;
    box.style.height = `${Math.abs(here.y - brush.y)}px`;
    hint(-1);
    return;
  }
  const at = nearest(here);
  canvas.style.cursor = at < 0 ? "crosshair" : "pointer";
  show(at);
  hint(at, here);
});
canvas.addEventListener("pointerup", async (event) => {
  const from = brush, here = spot(event);
  brush = null;
  $("map-brush").hidden = true;
  if (!from) return;
  if (Math.hypot(here.x - from.x, here.y - from.y) >= 5) {
    const corner = (pick) => [pick(from.u, here.u), pick(from.v, here.v)].map((value) => Math.max(0, Math.min(1, value)).toFixed(3));
    change({ q: replaced(["tsne", "pca"], [[kind, ":", [...corner(Math.min), ...corner(Math.max)].join("/")]]) });
    return;
  }
  const at = nearest(here);
  if (at >= 0) change({ clip: (await nameOf(at)).name, frame: "" });
});
canvas.addEventListener("pointercancel", () => { brush = null; $("map-brush").hidden = true; });
canvas.addEventListener("pointerleave", () => { if (places) { hint(-1); show(); } });
$("map-colour").replaceChildren(...COLOURS.map(([key, title]) => new Option(title, key)));
$("map-colour").addEventListener("change", () => change({ colour: $("map-colour").value === "class" ? "" : $("map-colour").value }));
$("map-kind").addEventListener("change", () => change({ map: $("map-kind").value }));
new ResizeObserver(() => draw()).observe(stage);
