// Elements, and numbers in words. Whatever comes from a store becomes text here, never markup.

/** An element: el("p", { class: "quiet" }, "text", child). */
export function el(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

/** The same for drawings. */
export function svg(name, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function dress(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") node.addEventListener("click", value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  const shown = (child) => (typeof child === "string" ? visible(child) : child);
  node.append(...children.flat().filter((child) => child != null).map(shown));
  return node;
}

/** What would act on a terminal it is pasted into, or turns letters around, as it is written in code. */
export function visible(text) {
  const unseen = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
  return text.replace(unseen, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`);
}

export const id = (name) => document.getElementById(name);

/** Sets a text only where it is another, so that nothing is read out or selected anew. */
export function say(node, text) {
  const shown = visible(String(text ?? ""));
  if (node.textContent !== shown) node.textContent = shown;
}

/** Children for items, kept by key, so that focus stays where it is. */
export function keyed(parent, items, key, make, update) {
  const known = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, at) => {
    const name = String(key(item));
    let node = known.get(name);
    known.delete(name);
    if (!node) {
      node = make(item);
      node.dataset.key = name;
    }
    if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null);
    update?.(node, item);
  });
  for (const node of known.values()) node.remove();
}

/** Terms and what they are, in a <dl>; those without a value are left out. */
export function facts(list, pairs) {
  const known = pairs.filter(([, value]) => value != null && value !== "");
  keyed(
    list, known, ([term]) => term,
    ([term]) => el("div", {}, el("dt", {}, term), el("dd")),
    (node, [, value]) => say(node.lastChild, String(value)),
  );
}

export function count(n, what) {
  return `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
}

export function bytes(n) {
  if (n == null) return "–";
  if (n < 1024) return `${n} B`;
  let value = n;
  for (const unit of ["KiB", "MiB", "GiB", "TiB", "PiB"]) {
    value /= 1024;
    if (value < 1023.95 || unit === "PiB") return `${value.toFixed(value < 99.95 ? 1 : 0)} ${unit}`;
  }
}

/** Microseconds: 4.12 ms. */
export function micros(n) {
  if (n == null) return "–";
  if (n < 1000) return `${n} µs`;
  if (n < 999_500) return `${three(n / 1000)} ms`;
  return n < 60e6 ? `${three(n / 1e6)} s` : time(n / 1e6);
}

const three = (value) => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);

/** Seconds: 3m 20s. */
export function time(seconds) {
  if (seconds == null) return "–";
  if (seconds > 0 && seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds > 0 && seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor(s / 60) % 60}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor(s / 3600) % 24}h`;
}

/** A share of many, in whole percents; none and all are only said where it is so. */
export function share(part, all) {
  const n = (100 * part) / Math.max(1, all);
  return n > 0 && n < 1 ? "under 1%" : n < 100 && n > 99 ? "over 99%" : `${Math.round(n)}%`;
}

/** What a cell of memory is drawn as; of what changed, three degrees. */
export function cellKind({ zero = 0, same, changed }) {
  if (!changed) return same ? "same-as" : "zero";
  return `changed-${Math.min(3, 1 + Math.floor((3 * changed) / (zero + same + changed)))}`;
}

export const percent = (share) => `${(share * 100).toFixed(2)}%`;

/** How long ago; clocks of other hosts may be ahead. */
export const ago = (seconds) => (seconds < 1 ? "just now" : `${time(seconds)} ago`);

const pad = (n) => String(n).padStart(2, "0");

/** 14:03:22, with the day where that is not today. */
export function clock(rfc3339, now = Date.now()) {
  const at = new Date(rfc3339);
  if (Number.isNaN(at.getTime())) return rfc3339;
  const hours = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  const today = new Date(now).toDateString() === at.toDateString();
  return today ? hours : `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${hours}`;
}

const WHY = {
  timer: "by the timer", asked: "on request", usr1: "at SIGUSR1", term: "at SIGTERM", int: "at Ctrl-C",
  program: "by the program", limit: "at --stop-after",
};

/** Who wanted a checkpoint. */
export const taken = (why) => (why ? WHY[why] ?? why : "–");
