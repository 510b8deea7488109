// How many clips have which class, split, fault and so on among those that are found; a click filters.
import { $, about, el } from "./dom.js";
import { change } from "./state.js";
import { has, toggled } from "./terms.js";

const TITLES = {
  class: "Class", split: "Split", subject: "Subject", camera: "Camera", setup: "Setup", replication: "Replication", bodies: "Bodies",
  fault: "Faults", decision: "Decisions", predicted: "Taken for", judged: "Judged", reject: "Rejected sources",
};
const ORDER = Object.keys(TITLES);
const OPEN = new Set(["class", "split", "fault", "decision", "judged", "reject"]);
const FEW = 12;
const shown = new Map(); // by key, whether it was opened and whether all of it is listed

export function drawFacets(facets, atWork) {
  const box = $("facets"), top = box.scrollTop, focused = document.activeElement?.dataset?.facet;
  const keys = ORDER.filter((key) => facets[key]);
  if (atWork.faults && !facets.fault) keys.splice(Math.min(2, keys.length), 0, "fault");
  box.replaceChildren(...keys.map((key) => facet(key, facets[key], atWork)), exporting());
  box.scrollTop = top;
  if (focused) box.querySelector(`[data-facet="${CSS.escape(focused)}"]`)?.focus();
}

function facet(key, rows, atWork) {
  const kept = shown.get(key) || { open: OPEN.has(key), all: false };
  shown.set(key, kept);
  const details = el("details", { open: kept.open, dataset: { key }, ontoggle: () => { kept.open = details.open; } }, el("summary", {}, TITLES[key]));
  if (!rows) {
    const [done, total] = atWork.faults;
    details.append(el("p", { className: "faint" }, `being looked for: ${done} of ${total} shards`));
    return details;
  }
  const chosen = rows.filter(([value]) => has(key, value) || has(key, value, true));
  const listed = kept.all || rows.length <= FEW + 3 ? rows : [...new Set([...rows.slice(0, FEW), ...chosen])];
  const most = Math.max(1, ...rows.map(([, n]) => n));
  details.append(el("ul", {}, ...listed.map(([value, n]) => row(key, value, n, most))));
  if (!rows.length) details.append(el("p", { className: "faint" }, "none"));
  if (listed.length < rows.length) {
    details.append(el("button", { className: "quiet", onclick: () => { kept.all = true; details.replaceWith(facet(key, rows, atWork)); } }, `all ${rows.length}`));
  }
  return details;
}

function row(key, value, n, most) {
  const on = has(key, value), off = has(key, value, true);
  const bar = el("i", { aria: { hidden: "true" } });
  bar.style.width = `${(100 * n) / most}%`;
  const choose = el("button", { className: "value", aria: { pressed: String(on) }, dataset: { facet: `${key}:${value}` }, onclick: () => change({ q: toggled(key, value) }) },
    el("span", { className: "name" }, value), el("span", { className: "n" }, n.toLocaleString("en")), bar);
  const without = key === "reject" ? "" : el("button", { className: "without", title: `without ${value}`, aria: { label: `without ${value}`, pressed: String(off) }, onclick: () => change({ q: toggled(key, value, true) }) }, "−");
  return el("li", { className: off ? "off" : on ? "on" : "" }, choose, without);
}

function exporting() {
  const where = el("p", { className: "faint" }, `kept in ${about.list}; a training leaves the excluded out with data.exclude=beside, or with this file's name`);
  return el("div", { id: "exporting" }, el("a", { href: "api/decisions.csv", download: "decisions.csv" }, "Export decisions (CSV)"), where);
}
