// What the server is asked. An answer that is none is an Error with the server's own words.
const TOKEN = document.querySelector("meta[name=token]").content;

async function answered(path, options) {
  let answer;
  try { answer = await fetch(path, options); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is amr-data serve still running?");
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || `the server answers ${answer.status}`);
  return answer;
}

function path(name, params) {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) if (value !== "" && value !== null && value !== undefined) words.set(key, value);
  return `api/${name}?${words}`;
}

export const json = async (name, params = {}, options = {}) => (await answered(path(name, params), options)).json();
export const bytes = async (name, params = {}, options = {}) => (await answered(path(name, params), options)).arrayBuffer();

export async function decide(clip, differs) {
  const headers = { "Content-Type": "application/json", "X-Amr-Token": TOKEN };
  const signal = AbortSignal.timeout(15000);
  return (await answered("api/decisions", { method: "POST", headers, signal, body: JSON.stringify({ clip, ...differs }) })).json();
}
