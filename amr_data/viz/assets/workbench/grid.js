// The clips that were found, moving. One canvas shows all bodies that are in view; their frames are fetched in
// small batches when they come near, and forgotten when there are many. Names are links above the canvas.
import { $, about, colour, count, el } from "./dom.js";
import { bytes, json } from "./api.js";
import { address, change, state } from "./state.js";

const WIDTH = 150, PICTURE = 122, LINES = 40, PAGE = 100, BATCH = 24, KEPT = 1500, AT_ONCE = 2, PACE = 50;
const ABSENT = 255, TOP = 254;
const main = $("main"), grid = $("grid"), canvas = $("canvas"), cells = $("cells");

let total = 0, columns = 1, ticket = 0, view = { first: 0, last: -1 };
let pages = new Map(), asked = new Set(), moving = true, last = 0, dirty = true, hover = -1;
const frames = new Map(), waiting = new Set();
let running = 0;

// a new search: `n` clips, of which nothing is known yet
export async function showGrid(n, keepPlace = false) {
  ticket += 1;
  total = n;
  pages = new Map(); asked = new Set();
  $("grid").hidden = n === 0;
  if (!keepPlace && main.scrollTop > grid.offsetTop) main.scrollTop = Math.max(0, grid.offsetTop - 60);
  layout();
  if (n) await page(Math.floor(view.first / PAGE));
}

export const forgetRows = () => { pages = new Map(); asked = new Set(); layout(); };
export const setMoving = (on) => { moving = on; dirty = true; };
export const redraw = () => { inks = null; dirty = true; };

function layout() {
  columns = Math.max(2, Math.floor(grid.clientWidth / WIDTH));
  grid.style.height = `${Math.ceil(total / columns) * (PICTURE + LINES)}px`;
  look(true);
}

const step = () => grid.clientWidth / columns;

function look(force = false) {
  const tall = PICTURE + LINES, above = Math.max(0, main.scrollTop - grid.offsetTop);
  const row = Math.max(0, Math.floor(above / tall) - 1), rows = Math.ceil(main.clientHeight / tall) + 3;
  const next = { first: row * columns, last: Math.min(total, (row + rows) * columns) - 1, row };
  if (!force && next.first === view.first && next.last === view.last) return;
  view = next;
  const ratio = Math.min(devicePixelRatio, 2), high = Math.max(1, Math.ceil((view.last - view.first + 1) / columns) * tall);
  canvas.style.top = `${row * tall}px`;
  canvas.style.height = `${high}px`;
  if (canvas.width !== Math.round(grid.clientWidth * ratio) || canvas.height !== Math.round(high * ratio)) {
    canvas.width = Math.round(grid.clientWidth * ratio);
    canvas.height = Math.round(high * ratio);
  }
  for (let p = Math.floor(view.first / PAGE); p <= Math.floor(Math.max(0, view.last) / PAGE); p++) if (total) page(p);
  place();
  dirty = true;
}

async function page(p) {
  if (asked.has(p)) return;
  asked.add(p);
  const mine = ticket;
  try {
    const found = await json("rows", { q: state.q, sort: state.sort || "index", by: state.by, from: p * PAGE, count: PAGE });
    if (mine !== ticket) return;
    pages.set(p, found.rows);
    place();
  } catch (error) { asked.delete(p); }
}

const rowAt = (position) => pages.get(Math.floor(position / PAGE))?.[position % PAGE];

// --- links with the names ---------------------------------------------------------------------------------------------------------------
function place() {
  const made = [], wide = step(), tall = PICTURE + LINES;
  for (let position = view.first; position <= view.last; position++) {
    const row = rowAt(position);
    if (!row) continue;
    const marks = el("span", { className: "marks" });
    if (row.decision) marks.append(el("b", { className: row.decision, title: row.decision }, row.decision === "keep" ? "✓" : "✕"));
    if (row.noted) marks.append(el("b", { className: "note", title: "with a note" }, "✎"));
    if (row.faults.length) marks.append(el("b", { className: "fault", title: row.faults.join(", ") }, `! ${row.faults.length}`));
    if (row.predicted) marks.append(el("b", { className: row.right ? "right" : "wrong", title: `taken for ${row.predicted}` }, row.right ? "right" : "wrong"));
    const cell = el("a", {
      className: `cell ${row.decision === "exclude" ? "excluded" : ""} ${row.name === state.clip ? "current" : ""}`, href: address({ clip: row.name, frame: "" }), title: row.name,
      dataset: { index: row.index },
      onclick: (event) => { if (!(event.ctrlKey || event.metaKey || event.shiftKey)) { event.preventDefault(); change({ clip: row.name, frame: "" }); } },
      onpointerenter: () => { hover = row.index; dirty = true; }, onpointerleave: () => { hover = -1; dirty = true; },
    }, marks, el("span", { className: "title" }, row.class), el("span", { className: "name" }, row.name));
    cell.style.width = `${wide - 6}px`;
    cell.style.height = `${tall - 6}px`;
    cell.style.left = `${(position % columns) * wide + 3}px`;
    cell.style.top = `${Math.floor(position / columns) * tall + 3}px`;
    made.push(cell);
  }
  const focused = document.activeElement?.classList?.contains("cell") ? document.activeElement.dataset.index : null;
  cells.replaceChildren(...made);
  if (focused !== null) cells.querySelector(`[data-index="${focused}"]`)?.focus({ preventScroll: true });
  fetchFrames();
  dirty = true;
}

export const markCurrent = () => place();

// --- frames -----------------------------------------------------------------------------------------------------------------------------
function fetchFrames() {
  if (running >= AT_ONCE) return;
  const missing = [];
  for (let position = view.first; position <= view.last && missing.length < BATCH; position++) {
    const row = rowAt(position);
    if (row && !frames.has(row.index) && !waiting.has(row.index)) missing.push(row.index);
  }
  if (!missing.length) return;
  running += 1;
  for (const index of missing) waiting.add(index);
  bytes("frames", { clips: missing.join(",") })
    .then(unpack)
    .catch(() => { for (const index of missing) frames.set(index, null); }) // the panel says what is wrong with one
    .finally(() => {
      for (const index of missing) waiting.delete(index);
      running -= 1;
      grid.dataset.drawn = String(frames.size);
      dirty = true;
      fetchFrames();
    });
  fetchFrames();
}

function unpack(buffer) {
  const read = new DataView(buffer);
  for (let at = 0; at < buffer.byteLength;) {
    const index = read.getUint32(at, true), length = read.getUint16(at + 4, true), bodies = read.getUint8(at + 6), seconds = read.getFloat32(at + 8, true);
    const size = length * bodies * about.joints * 2;
    frames.set(index, { length, bodies, seconds, points: new Uint8Array(buffer, at + 12, size) });
    at += 12 + size;
  }
  for (const index of frames.keys()) { // the oldest first
    if (frames.size <= KEPT) break;
    frames.delete(index);
  }
}

// --- drawing: as few strokes as there are inks, since a stroke costs more than the lines in it ------------------------------------------
const STYLES = [[1, 2], [0.55, 1.5], [0.3, 1.5]]; // opacity and width of a first body, of a second, of an excluded clip
let inks = null;
const ink = () => (inks = inks || ["--bone", "--bone-left", "--bone-right"].map(colour));

function tick(now) {
  requestAnimationFrame(tick);
  const lively = (moving || hover >= 0) && total > 0 && !document.hidden && now - last >= PACE;
  if (!dirty && !(lively && grid.getBoundingClientRect().top < innerHeight)) return;
  last = now; dirty = false;
  const context = canvas.getContext("2d"), ratio = canvas.width / Math.max(1, grid.clientWidth), wide = step(), tall = PICTURE + LINES;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, grid.clientWidth, canvas.height / ratio);
  context.lineCap = "round";
  const paths = STYLES.map(() => ink().map(() => new Path2D()));
  for (let position = view.first; position <= view.last; position++) {
    const row = rowAt(position), clip = row && frames.get(row.index);
    if (!clip) continue;
    const still = !(moving || hover === row.index);
    const x = (position % columns) * wide + (wide - PICTURE) / 2, y = (Math.floor(position / columns) - view.row) * tall + 6;
    const share = still ? 0.4 : ((now / 1000) % clip.seconds) / clip.seconds;
    trace(paths, clip, share * (clip.length - 1), x, y, row.decision === "exclude");
  }
  STYLES.forEach(([alpha, width], style) => paths[style].forEach((path, side) => {
    context.globalAlpha = alpha;
    context.lineWidth = width;
    context.strokeStyle = ink()[side];
    context.stroke(path);
  }));
}

function trace(paths, clip, time, x, y, excluded) {
  const from = Math.floor(time), to = Math.min(from + 1, clip.length - 1), V = about.joints, points = clip.points, scale = (PICTURE - 6) / TOP;
  for (let body = 0; body < clip.bodies; body++) {
    const a = (from * clip.bodies + body) * V * 2, b = (to * clip.bodies + body) * V * 2;
    if (points[a] === ABSENT) continue;
    const share = points[b] === ABSENT ? 0 : time - from;
    const at = (joint, i) => (points[a + joint * 2 + i] * (1 - share) + points[b + joint * 2 + i] * share) * scale;
    const mine = paths[excluded ? 2 : body ? 1 : 0];
    about.bones.forEach(([one, other], n) => {
      const path = mine[about.sides[n]];
      path.moveTo(x + at(one, 0), y + at(one, 1));
      path.lineTo(x + at(other, 0), y + at(other, 1));
    });
  }
}

main.addEventListener("scroll", () => look(), { passive: true });
new ResizeObserver(() => layout()).observe(main);
requestAnimationFrame(tick);

export const inWords = (n, rejects) => (rejects ? count(n, "rejected source") : `${count(n, "clip")}${n === about.clips ? "" : ` of ${about.clips.toLocaleString("en")}`}`);
