// What the server is asked. An answer that is an error is thrown, with its sentence.

async function answer(response) {
  if (response.ok) return response;
  let text = `the server answers ${response.status}`;
  try {
    text = (await response.json()).error;
  } catch {
    // no sentence came with it
  }
  const error = new Error(text);
  error.status = response.status;
  throw error;
}

function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function request(path, query, options) {
  let response;
  try {
    response = await fetch(address(path, query), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("coala serve does not answer. Fix: start it again");
  }
  return answer(response);
}

export const json = async (path, query, options) => (await request(path, query, options)).json();
export const bytes = async (path, query) => (await request(path, query)).arrayBuffer();
export const send = (blob, name) =>
  json("/api/sounds", { name }, { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });
export const of = (sound, what) => `/api/sounds/${encodeURIComponent(sound.key)}/${what}`;
