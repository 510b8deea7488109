// The dataset at a glance: facts, splits by class, lengths, energies, rejects and the worst faults.
import { $, el } from "./dom.js";
import { json } from "./api.js";
import { address, change } from "./state.js";
import { linkTo, replaced, toggled } from "./terms.js";

const SIDES = ["train", "test", "validation", "unassigned"];

export async function drawOverview() {
  const found = await json("overview");
  const { charts } = found, energy = Object.keys(charts).find((title) => title.startsWith("motion energy"));
  $("charts").replaceChildren(
    card("Facts", facts(found.facts)),
    card("Worst faults", faults(found)),
    ...Object.entries(found.splits).map(([name, sides]) => card(`Clips by class and split: ${name}`, bySplit(name, sides, found.classes), "wide")),
    Object.keys(found.splits).length ? "" : card("Clips by class", bars(charts["clips by class"], (value) => toggled("class", value)), "wide"),
    card("Clip lengths (frames)", lengths(found.lengths)),
    energy ? card(energy[0].toUpperCase() + energy.slice(1), bars(charts[energy], (value) => toggled("class", value))) : "",
    card("Bodies in a clip", el("div", {}, bars(charts["bodies in a clip"], (value) => toggled("bodies", value)), el("h2", {}, "Rejected sources"),
      Object.keys(found.rejects).length ? bars(found.rejects, (value) => toggled("reject", value)) : el("p", { className: "faint" }, "none"))),
  );
  return found;
}

const card = (title, content, name = "") => el("section", { className: `card ${name}` }, el("h2", {}, title), content);

function facts(rows) {
  return el("dl", {}, ...Object.entries(rows).flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));
}

function faults({ faults: rows, doubtful, at_work: atWork }) {
  if (!rows) {
    const [done, total] = atWork.faults || [0, 0];
    return el("p", { className: "faint", role: "status" }, total ? `being looked for: ${done} of ${total} shards` : "they could not be looked for");
  }
  if (!rows.length) return el("p", { className: "faint" }, "none");
  const items = rows.map((fault) => el("li", {},
    el("a", { href: address({ clip: fault.clip, frame: fault.frame ?? "" }), onclick: (event) => step(event, { clip: fault.clip, frame: fault.frame ?? "" }) }, fault.clip),
    el("span", {}, ` ${fault.kind}, ${fault.severity.toFixed(1)} times the limit: ${fault.words}`)));
  const all = el("a", { href: linkTo("fault", "any"), onclick: (event) => step(event, { q: toggled("fault", "any"), sort: "-severity" }) }, `all ${doubtful.toLocaleString("en")} suspicious clips`);
  return el("div", {}, el("ol", { className: "faults" }, ...items), el("p", {}, all));
}

function step(event, changes) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  change(changes);
}

function bySplit(name, sides, classes) {
  const known = SIDES.filter((side) => sides[side]);
  const totals = classes.map((_, k) => known.reduce((sum, side) => sum + sides[side][k], 0));
  const most = Math.max(1, ...totals);
  const legend = el("p", { className: "legend" }, ...known.map((side) => {
    const all = sides[side].reduce((sum, n) => sum + n, 0);
    return el("button", { className: "quiet", onclick: () => change({ q: toggled("split", `${name}/${side}`) }) }, el("i", { className: side }), `${side} ${all.toLocaleString("en")}`);
  }));
  const rows = classes.map((title, k) => {
    const parts = known.map((side) => {
      const part = el("i", { className: side, title: `${side}: ${sides[side][k].toLocaleString("en")}` });
      part.style.width = `${(100 * sides[side][k]) / most}%`;
      return part;
    });
    return bar(title, totals[k], el("span", { className: "stack" }, ...parts), () => change({ q: toggled("class", title) }));
  });
  return el("div", {}, legend, el("div", { className: "bars two" }, ...rows));
}

function bars(values, search) {
  const rows = Object.entries(values), most = Math.max(1e-9, ...rows.map(([, n]) => n));
  return el("div", { className: "bars" }, ...rows.map(([name, n]) => {
    const part = el("i", {});
    part.style.width = `${(100 * n) / most}%`;
    return bar(name, n, el("span", { className: "stack" }, part), () => change({ q: search(name) }));
  }));
}

const bar = (name, n, stack, choose) => el("button", { className: "bar", onclick: choose }, el("span", { className: "name" }, name), el("span", { className: "n" }, n.toLocaleString("en")), stack);

function lengths(bins) {
  const most = Math.max(1, ...bins.map((bin) => bin.clips));
  return el("div", { className: "columns" }, ...bins.map((bin) => {
    const range = bin.first_frames === bin.last_frames ? `${bin.first_frames}` : `${bin.first_frames} to ${bin.last_frames}`;
    const tall = el("i", {});
    tall.style.height = `${(100 * bin.clips) / most}%`;
    const choose = () => change({ q: replaced(["frames"], [["frames", ">=", String(bin.first_frames)], ["frames", "<=", String(bin.last_frames)]]) });
    return el("button", { title: `${range} frames: ${bin.clips.toLocaleString("en")} clips`, aria: { label: `${range} frames: ${bin.clips} clips` }, onclick: choose }, tall, el("span", {}, String(bin.first_frames)));
  }));
}
