// Elements from text: nothing here reads HTML, so no name can become any.
export const $ = (id) => document.getElementById(id);
export const about = JSON.parse($("about").textContent);

export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (key === "dataset") Object.assign(made.dataset, value);
    else if (key === "aria") for (const [name, said] of Object.entries(value)) made.setAttribute(`aria-${name}`, said);
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function say(text) {
  $("said").textContent = text || "";
  $("said").hidden = !text;
}
