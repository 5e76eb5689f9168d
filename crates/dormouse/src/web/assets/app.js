// Asks every second what is there, and shows it. What is done by buttons is in deeds.js.

import { Gone, Refused, arrive, get, getNewer, part, take, unpart } from "./server.js";
import { ago, bytes, cellKind, clock, count, el, facts, id, keyed, percent, say, time, micros } from "./words.js";
import { CELLS, Timeline, tableRow } from "./timeline.js";
import { Detail } from "./checkpoint.js";
import { Deeds } from "./deeds.js";

const EVERY = 1000;
/** Rows of the table, and more with each press of its button. */
const ROWS = 100;

const page = {
  state: null, // what api/state said
  job: null, number: null, // what is chosen
  timeline: null, tag: null, // what api/jobs/JOB said
  heat: new Map(), // by digests of a checkpoint and the one before
  looks: 0, // how often that grew
  rows: ROWS,
};

const deeds = new Deeds({ page, refresh, choose });
const detail = (page.detail = new Detail({ page }));
const timeline = new Timeline({
  node: id("timeline"), readout: id("readout"), range: id("window-range"), rangeBox: id("window"),
  rangeLabel: id("window-label"), choose: (number) => choose(page.job, number), seen: wantHeat,
});

// ---- what is chosen: in the address, as #/JOB or #/JOB/N ----

function chosen() {
  // #main is where the first link leads.
  if (page.job && !location.hash.startsWith("#/")) history.replaceState(null, "", addressOf(page.job, page.number));
  const [, job, number] = location.hash.split("/").map(unpart);
  return { job: job || null, number: Number(number) || null };
}

const addressOf = (job, number) => `#/${part(job)}${number ? `/${number}` : ""}`;

function choose(job, number) {
  history.replaceState(null, "", addressOf(job, number));
  follow();
}

function follow() {
  const { job, number } = chosen();
  if (job !== page.job) {
    Object.assign(page, { job, timeline: null, tag: null, rows: ROWS });
  }
  page.number = number;
  draw();
  if (page.timeline === null) refresh();
}

// ---- asking ----

let asking = null;
let again = null;

/** Asks now; if it is being asked, once more afterwards. */
function refresh() {
  if (asking) {
    again ??= asking.then(() => { again = null; return refresh(); });
    return again;
  }
  asking = ask().finally(() => { asking = null; });
  return asking;
}

async function ask() {
  try {
    page.state = await get("state");
    gate(false);
    pulse("live", "live");
    const { jobs } = page.state.store;
    if (!page.job && jobs.length) {
      const first = jobs.find((job) => job.running) ?? jobs[0];
      Object.assign(page, { job: first.job, number: null });
      history.replaceState(null, "", addressOf(first.job));
    }
    if (page.job) await askJob();
    draw();
  } catch (error) {
    if (error instanceof Refused && [401, 403].includes(error.status)) return gate(true, error);
    if (!(error instanceof Gone || error instanceof Refused)) throw error;
    pulse("lost", error instanceof Gone ? "not connected: dormouse ui has ended, or does not answer" : error.message);
  }
}

async function askJob() {
  const job = page.job;
  try {
    const newer = await getNewer(`jobs/${part(job)}`, page.tag);
    if (newer && job === page.job) {
      page.tag = newer.tag;
      page.timeline = measured(newer.value);
    }
  } catch (error) {
    if (!(error instanceof Refused) || [401, 403].includes(error.status)) throw error;
    if (job === page.job) Object.assign(page, { tag: null, timeline: { gone: error.message, checkpoints: [], failed: [] } });
  }
}

/** With the seconds from one to the next. */
function measured(value) {
  let before = null;
  for (const mark of value.checkpoints) {
    if (before) mark.since = Math.max(0, (Date.parse(mark.created) - Date.parse(before.created)) / 1000);
    mark.job = value.job;
    mark.before = before?.digest ?? "";
    mark.problem = mark.own == null ? "damaged" : mark.encrypted ? "encrypted" : null;
    before = mark;
  }
  return value;
}

async function loop() {
  if (!document.hidden && id("gate").hidden) await refresh().catch((error) => pulse("lost", String(error)));
  setTimeout(loop, EVERY);
}

// ---- the memory over time: asked for what is in sight, the newest first ----

/** Checkpoints that are asked for together. */
const BATCH = 8;
/** Milliseconds after which one asks again for what could not be read. */
const AGAIN = 3000;
let fetching = false;

const heatKey = (mark) => mark.digest + mark.before;

async function wantHeat(sight) {
  wantHeat.sight = sight;
  if (fetching) return;
  fetching = true;
  try {
    for (;;) {
      const marks = wantHeat.sight.filter(unknown).slice(-BATCH);
      if (!marks.length) break;
      // Not the job that is shown: that may be another one by now.
      await askHeat(marks[0].job, marks);
      soon();
    }
  } catch {
    // Asked again when there is an answer to anything.
  } finally {
    fetching = false;
  }
}

/** Not known, or only that it could not be read a while ago. */
function unknown(mark) {
  const heat = page.heat.get(heatKey(mark));
  return !heat || heat.until < performance.now();
}

async function askHeat(job, marks) {
  const found = await get(`heat/${part(job)}?of=${marks.map((mark) => mark.number)}&cells=${CELLS}`);
  for (const mark of marks) {
    const heat = found.find(({ number }) => number === mark.number) ?? { kind: "gone" };
    // What may pass, as an error of the disk does.
    if (["gone", "other"].includes(heat.kind)) heat.until = performance.now() + AGAIN;
    if (heat.cells) heat.cells = heat.cells.map(cellKind);
    else heat.problem = ["encrypted", "damaged"].includes(heat.kind) ? heat.kind : "cannot be read";
    page.heat.set(heatKey(mark), heat);
  }
  page.looks += 1;
}

/** Many answers, one drawing. */
function soon() {
  soon.frame ??= requestAnimationFrame(() => { soon.frame = null; drawTimeline(); });
}

// ---- showing ----

function pulse(state, text) {
  id("pulse").dataset.state = state;
  if (state === "lost" && id("pulse-text").textContent !== text) say(id("live"), text);
  say(id("pulse-text"), text);
}

function gate(shut, error) {
  if (shut && error?.status === 403) say(id("gate-why"), error.message);
  id("gate").hidden = !shut;
  id("columns").hidden = shut;
  id("activity").hidden = shut || !page.state?.deeds.length;
  if (shut) pulse("waiting", "locked");
}

function draw() {
  if (!page.state) return;
  const { store, now } = page.state;
  page.now = Date.parse(now);
  say(id("store-dir"), store.dir);
  id("place").hidden = false;
  say(id("sums"), `${count(store.jobs.length, "job")} · ${count(store.checkpoints, "checkpoint")} · ${bytes(store.total)}`);
  drawJobs(store.jobs);
  const row = store.jobs.find((job) => job.job === page.job);
  drawEmpty(store, row);
  id("job").hidden = !row;
  if (row) drawJob(row);
  document.title = row ? `${page.job} · Dormouse` : "Dormouse";
  deeds.draw();
}

const STATES = {
  running: "running", checkpointing: "checkpointing", paused: "paused", waiting: "waiting",
  sleeping: "sleeping", "no answer": "does not answer",
};

function stateOf(row) {
  if (!row.running) return ["asleep", "asleep"];
  const { state, host } = row.running;
  return state === "elsewhere" ? [state, `runs on ${host || "another host"}`] : [state, STATES[state] ?? state];
}

function badge(node, row) {
  const [state, words] = stateOf(row);
  node.dataset.state = state;
  say(node, words);
}

function drawJobs(jobs) {
  keyed(
    id("jobs"), jobs, (row) => row.job,
    (row) => el("li", {}, el("a", { href: `#/${part(row.job)}` },
      el("span", { class: "name" }, row.job), el("span", { class: "badge" }), el("span", { class: "detail" }))),
    (node, row) => {
      const link = node.firstChild;
      if (row.job === page.job) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      badge(link.children[1], row);
      say(link.children[2], `${count(row.checkpoints, "checkpoint")}${row.total ? ` · ${bytes(row.total)}` : ""}`);
    },
  );
}

function drawEmpty(store, row) {
  const empty = id("empty");
  empty.hidden = Boolean(row) || (page.job !== null && page.timeline === null);
  if (empty.hidden) return;
  const run = `dormouse run --name first --every 30s program.wasm${page.state.hint}`;
  const clone = page.state.deeds.findLast((deed) => deed.clone === page.job && deed.state === "running");
  const [title, text, command] = page.job && clone
    ? [`${page.job} is starting`, "It is shown as soon as it runs.", clone.command]
    : page.job ? [`There is no job ${page.job}`, "It has no checkpoints here, and does not run. Choose another one.", `dormouse list${page.state.hint}`]
    : store.problem ? ["Nothing here yet", store.problem, run]
    : ["No jobs yet", "A job is a program that runs and its checkpoints. Start one, and it appears here:", run];
  say(id("empty-title"), title);
  say(id("empty-text"), text);
  say(id("empty-command"), command);
}

function drawJob(row) {
  const { running } = row;
  const title = id("job-title");
  if (title.dataset.job !== row.job) {
    title.dataset.job = row.job;
    title.replaceChildren(row.job, " ", el("span", { class: "badge" }));
  }
  badge(title.lastChild, row);
  const here = running?.answers;
  const waits = running?.state === "waiting" && "waits for input or output";
  say(id("job-program"), [row.program, waits, running?.pid && `process ${running.pid}`, running?.host && !here && `host ${running.host}`].filter(Boolean).join(" · "));
  id("job-action").hidden = !here;
  say(id("checkpoint-command"), `dormouse checkpoint ${row.job}${page.state.hint}`);
  const summary = page.timeline?.summary;
  const newest = row.newest_created ? (page.now - Date.parse(row.newest_created)) / 1000 : null;
  facts(id("job-facts"), running ? [
    ["Running for", running.seconds == null ? null : time(running.seconds)],
    ["Processor", running.cpu_seconds == null ? null : time(running.cpu_seconds)],
    ["Memory", running.memory_bytes == null ? null : bytes(running.memory_bytes)],
    ["Resident", running.resident_bytes == null ? null : bytes(running.resident_bytes)],
    ["Last checkpoint", newest == null ? "none yet" : ago(newest)],
    ["Next", running.next_seconds == null ? (running.every ? "–" : "when asked") : `in ${time(running.next_seconds)}`],
    ["Overhead", running.overhead == null ? null : percent(running.overhead)],
  ] : [
    ["Last checkpoint", newest == null ? null : ago(newest)],
    ["Checkpoints", row.checkpoints],
    ["In the store", bytes(row.total)],
    ["Median pause", summary?.checkpoints ? micros(summary.pause_p50) : null],
    ["Longest pause", summary?.checkpoints ? micros(summary.pause_max) : null],
  ]);
  const marks = page.timeline?.checkpoints ?? [];
  const failed = page.timeline?.failed.at(-1);
  const notice = page.timeline?.gone && !running ? page.timeline.gone
    : failed ? `${count(page.timeline.failed.length, "checkpoint")} failed; the last one at ${clock(failed.when, page.now)}: ${failed.error}`
      : running && page.timeline && !marks.length ? "It has no checkpoints yet: take the first one with the button above." : "";
  id("job-notice").hidden = !notice;
  say(id("job-notice"), notice);
  id("timeline").closest("section").hidden = !marks.length;
  drawTimeline();
}

function drawTimeline() {
  const marks = page.timeline?.checkpoints ?? [];
  if (marks.length && !marks.some((mark) => mark.number === page.number)) {
    const asked = page.number;
    page.number = (asked && marks.findLast((mark) => mark.number < asked) || marks.at(-1)).number;
    history.replaceState(null, "", addressOf(page.job, page.number));
  }
  for (const mark of marks) {
    mark.heat = page.heat.get(heatKey(mark));
    if (mark.heat?.problem === "damaged") mark.problem = "damaged";
    else if (mark.encrypted && mark.heat?.cells) mark.problem = null;
  }
  const mark = marks.find((m) => m.number === page.number);
  if (marks.length) timeline.show({ job: page.job, marks, selected: page.number, heat: page.looks, now: page.now });
  drawTable(marks);
  id("checkpoint").hidden = !mark;
  if (mark) detail.show(mark);
}

function drawTable(marks) {
  const details = id("table-details");
  const rows = details.open ? marks.slice(-page.rows).reverse() : [];
  keyed(
    id("table-rows"), rows, (mark) => mark.number,
    (mark) => el("tr", {},
      el("th", { scope: "row" }, el("button", { class: "link", onclick: () => choose(page.job, mark.number) })),
      ...Array.from({ length: 7 }, (_, at) => el("td", { class: at >= 2 && at <= 5 ? "n" : null }))),
    (node, mark) => {
      const cells = tableRow(mark, page.job, page.now);
      say(node.firstChild.firstChild, cells[0]);
      cells.slice(1).forEach((text, at) => say(node.children[at + 1], text));
      if (mark.number === page.number) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
    },
  );
  const more = marks.length - rows.length;
  id("table-more").hidden = !details.open || more <= 0;
  say(id("table-more"), `Show ${Math.min(more, ROWS * 5)} older ones`);
}

// ---- beginning ----

id("gate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (take(id("gate-address").value)) refresh();
  else say(id("gate-why"), "That is not an address that `dormouse ui` printed: it ends with token= and 64 letters and digits.");
});
id("table-details").addEventListener("toggle", drawTimeline);
id("table-more").addEventListener("click", () => {
  page.rows += ROWS * 5;
  drawTimeline();
});
document.addEventListener("visibilitychange", () => !document.hidden && refresh());
window.addEventListener("hashchange", () => {
  // Another address of this page, opened in the same tab.
  arrive();
  follow();
});
arrive();
follow();
loop();
