// What is looked at, held by the address: a link shows the same again, back and forward go through it.
const KEYS = ["q", "sort", "by", "map", "colour", "clip", "frame"];
const heard = [];
export const state = read();

function read() {
  const words = new URLSearchParams(location.search);
  return Object.fromEntries(KEYS.map((key) => [key, words.get(key) || ""]));
}

export function address(changes = {}) {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...state, ...changes })) if (value !== "" && value !== null) words.set(key, value);
  const text = words.toString();
  return text ? `?${text}` : location.pathname;
}

// `how`: push is a step that "back" takes back, replace is none
export function change(changes, how = "push") {
  if (Object.entries(changes).every(([key, value]) => String(value) === state[key])) return;
  const before = { ...state };
  for (const [key, value] of Object.entries(changes)) state[key] = value === null ? "" : String(value);
  history[how === "push" ? "pushState" : "replaceState"](null, "", address());
  tell(before);
}

export const listen = (told) => heard.push(told);
const tell = (before) => { for (const told of heard) told(before); };

addEventListener("popstate", () => {
  const before = { ...state };
  Object.assign(state, read());
  tell(before);
});
