// A search as terms: facets take them out and put them in, what a person typed beside them stays.
import { state } from "./state.js";

let terms = [];
export const took = (found) => { terms = found; };

const PLAIN = /^[^\s"\\,:<>=-][^\s"\\,:<>=]*$/;
const quoted = (value) => (PLAIN.test(value) ? value : `"${value.replace(/[\\"]/g, "\\$&")}"`);
const same = (a, b) => a.toLowerCase() === b.toLowerCase();
const named = (term, key, negated) => term.key === key && term.sign === ":" && term.negated === negated;

export const has = (key, value, negated = false) =>
  terms.some((term) => named(term, key, negated) && term.meant.some((one) => same(one, value)));

const text = (term) => `${term.negated ? "-" : ""}${term.key ? term.key + term.sign : ""}${term.values.map(quoted).join(",")}`;

// the search with a value taken out, or put in beside the others of its key
export function toggled(key, value, negated = false) {
  const on = has(key, value, negated);
  const without = (term) => (term.meant.some((one) => same(one, value)) ? { ...term, values: term.meant.filter((one) => !same(one, value)) } : term);
  const left = terms.map((term) => (term.key === key && term.sign === ":" ? without(term) : term)).filter((term) => term.values.length);
  if (on) return left.map(text).join(" ");
  const at = left.findIndex((term) => named(term, key, negated));
  if (at >= 0) left[at] = { ...left[at], values: [...left[at].values, value] };
  else left.push({ key, sign: ":", values: [value], negated });
  return left.map(text).join(" ");
}

// the search with these terms of some keys in place of its own, such as [["frames", ">=", "25"]]
export function replaced(keys, mine) {
  const left = terms.filter((term) => !keys.includes(term.key));
  return [...left, ...mine.map(([key, sign, value]) => ({ key, sign, values: [value], negated: false }))].map(text).join(" ");
}

export const linkTo = (key, value) => `?${new URLSearchParams({ q: text({ key, sign: ":", values: [value], negated: false }), ...(state.by ? { by: state.by } : {}) })}`;
