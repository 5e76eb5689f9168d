// Talking to `dormouse ui`. The token came behind the # of the address, which no browser sends; it is kept for this origin
// (port included) until the tab is closed, and sent in a header that only this script adds.

const KEY = "dormouse-token";

/** The token from an address that was pasted or opened; true if there was one. */
export function take(text) {
  const found = /(?:token=|^)([0-9a-f]{64})\b/.exec(text.trim());
  if (found) sessionStorage.setItem(KEY, found[1]);
  return found !== null;
}

/** Takes the token out of the address bar. */
export function arrive() {
  if (take(location.hash.slice(1))) history.replaceState(null, "", location.pathname);
}

export class Refused extends Error {
  constructor(status, { error, kind } = {}) {
    super(error ?? `it answered with status ${status}`);
    this.status = status;
    this.kind = kind;
  }
}

/** Nobody answers. */
export class Gone extends Error {}

/** Milliseconds that an answer may take; what is done or made takes as long as it takes. */
const PATIENCE = 10_000;

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(`/api/${path}`, { ...options, headers, cache: "no-store" });
  } catch {
    throw new Gone("`dormouse ui` does not answer");
  }
  if (response.ok || response.status === 304) return response;
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

/** Asks for something that is there; Gone if that is not answered in time. */
async function look(path, options, read) {
  const signal = AbortSignal.timeout(PATIENCE);
  try {
    return await read(await ask(path, { ...options, signal }));
  } catch (error) {
    throw signal.aborted && !(error instanceof Refused) ? new Gone("`dormouse ui` does not answer") : error;
  }
}

export const get = (path) => look(path, {}, (response) => response.json());

/** Null if it is what it was. */
export function getNewer(path, tag) {
  return look(path, { headers: tag ? { "If-None-Match": tag } : {} }, async (response) => {
    if (response.status === 304) return null;
    return { tag: response.headers.get("ETag"), value: await response.json() };
  });
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/** Fetches a file and has the browser save it. */
export async function download(path, name) {
  const blob = await (await ask(path)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return blob.size;
}

/** A job's name or a number in an address. */
export const part = encodeURIComponent;

/** Back; what nobody encoded is left as it is. */
export function unpart(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
