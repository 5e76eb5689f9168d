// What one checkpoint holds: the stack first, then memory, files and the rest.

import { Refused, get, part } from "./server.js";
import { bytes, cellKind, clock, count, el, facts, id, micros, say, taken, time } from "./words.js";

/** Frames that are shown before one asks for more. */
const FRAMES = 12;
/** Milliseconds for which one stays at a checkpoint before it is asked for. */
const REST = 120;

export class Detail {
  #key = null;
  #refused = null;

  constructor({ page }) {
    this.page = page;
  }

  /** Asked for once for each; checkpoints never change. */
  async show(mark) {
    const { job, now } = this.page;
    say(id("checkpoint-title"), `${job}@${mark.number}`);
    say(id("checkpoint-when"), `saved ${clock(mark.created, now)}${mark.why ? `, taken ${taken(mark.why)}` : ""}`);
    const key = `${job} ${mark.digest} ${mark.before}`;
    if (key === this.#key) return;
    this.#key = key;
    this.seen = null;
    hold(key !== this.#refused);
    const body = id("checkpoint-body");
    // What was refused is asked for again, and the words stay meanwhile.
    if (key !== this.#refused) {
      body.setAttribute("aria-busy", "true");
      notice("");
    }
    this.#refused = null;
    try {
      // Whoever goes along the timeline with the arrow keys does not stop at each.
      await new Promise((done) => setTimeout(done, REST));
      if (this.#key !== key) return;
      const seen = await get(`checkpoints/${part(job)}/${mark.number}`);
      if (this.#key !== key) return;
      this.seen = seen;
      hold(false);
      notice("");
      body.replaceChildren(...parts(seen, mark));
    } catch (error) {
      if (this.#key !== key) return;
      if (!(error instanceof Refused) || [401, 403].includes(error.status)) {
        // Asked again when there is an answer to anything.
        this.#key = null;
        return;
      }
      // Why not is then told by what is asked.
      hold(false);
      // This may pass, as an error of the disk does.
      if (["gone", "other"].includes(error.kind)) {
        this.#key = null;
        this.#refused = key;
      }
      body.replaceChildren();
      notice(error.kind === "encrypted"
        ? `${error.message} Restart this page with --identity FILE to look inside; it can be deleted without.`
        : error.message);
    } finally {
      if (this.#key === key || this.#key === null) body.removeAttribute("aria-busy");
    }
  }
}

/** Its directories have to be known before it can go on. */
function hold(yes) {
  for (const name of ["do-resume", "do-clone"]) {
    id(name).setAttribute("aria-disabled", yes);
    id(name).title = yes ? "What it holds is being looked at" : "";
  }
}

function notice(text) {
  id("checkpoint-notice").hidden = !text;
  say(id("checkpoint-notice"), text);
}

function parts(seen, mark) {
  const list = el("dl", { class: "facts small" });
  const { wasi } = seen;
  facts(list, [
    ["Pause", mark.pause == null ? null : micros(mark.pause)],
    ["Only its own", bytes(mark.own)],
    ["Shared with others", bytes(mark.shared)],
    ["Awake for", time(wasi.awake_ns / 1e9)],
    ["Resumed before", wasi.restored ? count(wasi.restored, "time") : null],
    ["Waits for", wasi.waiting ? (wasi.waiting.left_ns == null ? "input or output" : `${time(wasi.waiting.left_ns / 1e9)} more`) : null],
    ["Taken on", seen.host],
    ["Encrypted", mark.encrypted ? "yes" : null],
    ["Came from elsewhere", mark.pulled ? "yes: look at its directories before it is resumed" : null],
  ]);
  return [
    list,
    el("div", { class: "halves" },
      el("section", { "aria-labelledby": "stack-title" }, el("h4", { id: "stack-title" }, "Stack ", el("span", { class: "quiet" }, `${count(seen.frames_total, "frame")}, innermost first`)), stack(seen)),
      el("div", {}, ...memories(seen), ...surroundings(seen)),
    ),
  ];
}

// ---- the stack ----

function stack({ frames, frames_total: total }) {
  // Calls of one function from one place are one line.
  const runs = [];
  frames.forEach((frame, at) => {
    const last = runs.at(-1);
    const gap = frame.gap ?? 0;
    if (last && !gap && last.frame.func === frame.func && last.frame.offset === frame.offset) last.times += 1;
    else runs.push({ frame, at: at + gapBefore(frames, at), times: 1, gap });
  });
  const list = el("ol", { class: "stack" });
  const show = (shown) => list.replaceChildren(...shown.flatMap((run) => [
    run.gap ? el("li", { class: "gap quiet" }, `${count(run.gap, "frame")} between are not shown`) : null, frameRow(run),
  ]).filter(Boolean));
  if (!total) return el("p", { class: "quiet" }, "The program has not begun, or has ended.");
  if (runs.length <= FRAMES) {
    show(runs);
    return list;
  }
  show(runs.slice(0, FRAMES));
  const more = el("button", { onclick: () => { show(runs); more.remove(); list.querySelectorAll("summary")[FRAMES]?.focus(); } }, `Show ${runs.length - FRAMES} more`);
  return el("div", {}, list, more);
}

const gapBefore = (frames, at) => frames.slice(0, at + 1).reduce((sum, frame) => sum + (frame.gap ?? 0), 0);

function frameRow({ frame, at, times }) {
  const line = frame.lines.at(-1);
  const where = line ? place(line) : `+0x${(frame.within ?? frame.offset).toString(16)}`;
  const summary = el("summary", {},
    el("span", { class: "number" }, String(at)), el("code", { class: "function" }, frame.name),
    times > 1 ? el("span", { class: "times" }, `${times} times`) : null,
    el("span", { class: "where" }, where));
  const inlined = frame.lines.slice(0, -1).map((l) => el("p", { class: "quiet" }, "inlined here: ", el("code", {}, l.function ?? "a function"), ` ${place(l)}`));
  const values = [
    ...frame.variables.map((v) => [v.name, v.type, v.value ?? v.missing ?? "not known"]),
  ];
  const raw = [
    ...frame.locals.map((l) => [l.name ?? `local ${l.index}`, l.type, l.value]),
    ...frame.operands.map((o, i) => [`operand ${i}`, o.type, o.value]),
  ];
  return el("li", {}, el("details", {}, summary, ...inlined,
    values.length ? valueTable("Variables", values) : null,
    raw.length ? valueTable("WebAssembly locals and operands", raw) : null,
    values.length + raw.length ? null : el("p", { class: "quiet" }, "It keeps no values."),
    el("p", { class: "quiet" }, `function ${frame.func}, module offset 0x${frame.offset.toString(16)}`)));
}

const place = ({ file, line, column }) => [file ?? "?", line, line && column].filter((p) => p != null).join(":");

function valueTable(caption, rows) {
  return el("table", { class: "values" }, el("caption", {}, caption),
    el("tbody", {}, ...rows.map(([name, type, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "quiet" }, type), el("td", {}, el("code", {}, String(value)))))));
}

// ---- memory ----

function memories({ memories: all, compared_with: before }) {
  return all.map((memory) => {
    const { zero, same, changed } = memory.heat.total;
    const kib = (pages) => bytes(pages * 4096);
    const words = before
      ? `${kib(changed)} changed since ${before}, ${kib(same)} as before, ${kib(zero)} zero`
      : `${kib(same + changed)} in use, ${kib(zero)} zero; there is none before it that it could be compared with`;
    const cells = memory.heat.cells.map((cell) => el("i", { class: cellKind(cell) }));
    return el("section", {},
      el("h4", {}, all.length === 1 ? "Memory " : `Memory ${memory.name ?? memory.index} `, el("span", { class: "quiet" }, bytes(memory.bytes))),
      el("div", { class: "strip-map", "aria-hidden": "true" }, ...cells),
      el("p", { class: "quiet" }, words));
  });
}

// ---- what is around it ----

function surroundings({ wasi, files }) {
  const found = [];
  const section = (title, ...children) => found.push(el("section", {}, el("h4", {}, title), ...children));
  if (wasi.args.length) section("Arguments", el("p", { class: "code" }, el("code", {}, wasi.args.join(" "))));
  if (wasi.preopens.length) {
    section("Directories", el("ul", { class: "plain" }, ...wasi.preopens.map((p) => el("li", {}, el("code", {}, p.guest), " is ", el("code", {}, p.host)))));
  }
  if (wasi.fds.length) {
    const at = (fd) => (fd.offset == null ? "" : ` at ${fd.offset.toLocaleString("en")}${fd.size == null ? "" : ` of ${fd.size.toLocaleString("en")}`}`);
    section("Open files", el("ul", { class: "plain" }, ...wasi.fds.map((fd) => el("li", {}, el("span", { class: "number" }, String(fd.fd)), `${fd.kind} `, el("code", {}, fd.path), at(fd)))));
  }
  const copied = files.filter((file) => file.rule === "copied");
  if (copied.length) {
    section(`Files in the checkpoint (${copied.length})`, el("ul", { class: "plain" }, ...copied.slice(0, 50).map((file) => el("li", {}, el("code", {}, file.path), file.kind === "gone" ? " deleted" : file.size == null ? ` ${file.kind}` : ` ${bytes(file.size)}`))));
  }
  return found;
}
