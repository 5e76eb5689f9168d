// What the buttons do. Each asks in one dialog, which shows the command line that does the same; what happened is told at the
// bottom of the page, and read out.

import { Gone, Refused, download, get, part, post } from "./server.js";
import { bytes, clock, count, el, id, keyed, say } from "./words.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Milliseconds without a key after which one looks whether what was typed will do. */
const TYPING = 300;

export class Deeds {
  #told = null;
  #asked = 0;
  /** Jobs of which a checkpoint is being taken. */
  #busy = new Set();

  constructor({ page, refresh, choose }) {
    Object.assign(this, { page, refresh, choose });
    id("checkpoint-now").addEventListener("click", () => this.#checkpoint());
    // Not before it is known which directories it has.
    const ready = ({ currentTarget }) => currentTarget.ariaDisabled !== "true" || this.#tell("one moment: what it holds is being looked at");
    id("do-resume").addEventListener("click", (event) => ready(event) && this.#resume());
    id("do-clone").addEventListener("click", (event) => ready(event) && this.#clone());
    id("do-export").addEventListener("click", () => this.#export());
    id("do-delete").addEventListener("click", () => this.#delete());
    id("ask-cancel").addEventListener("click", () => id("ask").close());
    id("ask").addEventListener("close", () => { this.#asked += 1; });
    id("ask-copy").addEventListener("click", () => this.#copy());
    id("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!id("ask-go").disabled) this.go();
    });
  }

  // ---- what happened ----

  draw() {
    const { deeds } = this.page.state;
    id("checkpoint-now").setAttribute("aria-disabled", this.#busy.has(this.page.job));
    id("activity").hidden = !deeds.length;
    keyed(
      id("activity-list"), [...deeds].reverse(), (deed) => deed.id,
      (deed) => el("li", {},
        el("span", { class: "when" }), el("span", { class: "badge" }), el("code", {}, deed.command), el("p", { class: "says" }),
        el("p", { class: "log", hidden: true }, "What it prints goes to ", el("code"), " ", el("button", { class: "small", onclick: (event) => this.#log(deed, event.target) }, "Show its end")),
        el("pre", { class: "output", tabindex: "0", "aria-label": `What ${deed.target} printed`, hidden: true })),
      (node, deed) => {
        const [when, badge, , says, log] = node.children;
        say(when, clock(deed.when, this.page.now));
        badge.dataset.state = deed.state;
        say(badge, { running: "running", done: "done", ended: "ended", failed: "failed" }[deed.state]);
        say(says, deed.says);
        log.hidden = !deed.log;
        say(log.children[0], deed.log ?? "");
      },
    );
    const told = new Map(deeds.map((deed) => [deed.id, `${deed.state} ${deed.says}`]));
    for (const deed of deeds) {
      if (this.#told && this.#told.get(deed.id) !== told.get(deed.id) && deed.says) this.#tell(words(deed));
    }
    this.#told = told;
    const latest = deeds.at(-1);
    if (!latest) return;
    say(id("activity-latest"), words(latest));
    id("activity-latest").dataset.state = latest.state;
  }

  #tell(text) {
    say(id("live"), text);
  }

  async #log(deed, button) {
    const output = button.closest("li").querySelector("pre");
    try {
      const { text, cut } = await get(`log/${deed.id}`);
      say(output, text ? (cut ? "…\n" : "") + text : "Nothing yet.");
    } catch (error) {
      say(output, error.message);
    }
    output.hidden = false;
    say(button, "Show its end again");
  }

  // ---- the buttons ----

  async #checkpoint() {
    const { job } = this.page;
    if (this.#busy.has(job)) return;
    this.#busy.add(job);
    this.draw();
    this.#tell(`taking a checkpoint of ${job}`);
    const deed = await this.#do({ do: "checkpoint", job }).finally(() => this.#busy.delete(job));
    this.draw();
    const number = deed?.state === "done" && /@(\d+)/.exec(deed.says)?.[1];
    if (number && job === this.page.job) this.choose(job, Number(number));
  }

  #target() {
    const { job, number, timeline, state } = this.page;
    const mark = timeline.checkpoints.find((m) => m.number === number);
    const row = state.store.jobs.find((r) => r.job === job);
    return { job, number, mark, row, name: `${job}@${number}` };
  }

  #resume() {
    const { job, number, name, mark } = this.#target();
    const newer = this.page.timeline.checkpoints.filter((m) => m.number > number);
    const body = [el("p", {}, "A process of its own goes on from here, without input; what it prints goes to a log in the store. It does not end with this page.")];
    if (newer.length) {
      body.push(el("p", { class: "notice" }, `This is not the newest: what ${job} did after ${name} is left behind. ${count(newer.length, "newer checkpoint")} (up to ${job}@${newer.at(-1).number}) stay in the store, and the next one has the number after those.`));
    }
    const order = () => ({ do: "resume", job, number, clone: null, dirs: this.#dirs() });
    body.push(...this.#directories(mark.pulled));
    this.#ask({ title: `Resume ${name}`, go: "Resume", body, order, rehearse: true, check: () => this.#lacking() });
  }

  #clone() {
    const { job, number, name, mark } = this.#target();
    const taken = new Set(this.page.state.store.jobs.map((row) => row.job));
    let n = 2;
    while (taken.has(`${job}-${n}`)) n += 1;
    const input = el("input", { id: "clone-name", value: `${job}-${n}`, autocomplete: "off", spellcheck: "false", maxlength: "128" });
    const order = () => ({ do: "resume", job, number, clone: input.value, dirs: this.#dirs() });
    const body = [
      el("p", {}, `Another job goes on from here, with checkpoints of its own; ${job} may run as well. It gets no input; what it prints goes to a log in the store.`),
      el("p", { class: "field" }, el("label", { for: "clone-name" }, "Name of the new job"), input),
      ...this.#directories(mark.pulled || this.page.detail.seen?.files.some((file) => file.rule === "copied")),
    ];
    const check = () => (NAME.test(input.value) ? this.#lacking() : "A name has letters, digits, dots, underscores and hyphens, and begins with a letter or a digit.");
    this.#ask({ title: `Clone ${name}`, go: "Clone", body, order, rehearse: true, check, then: () => this.#goTo(input.value) });
    input.select();
  }

  /** A job that is there soon. */
  #goTo(job) {
    location.hash = `#/${part(job)}`;
  }

  #export() {
    const { job, number, name } = this.#target();
    const { hint, keys } = this.page.state;
    const kinds = {
      wasm: [`${job}-${number}.wasm`, "--wasm", "A WASI module that goes on from here", "It runs in any engine with WASI."],
      coredump: [`${job}-${number}.core`, "--coredump", "A core dump", "For debuggers: the stack and the memory, nothing that runs."],
    };
    const choices = Object.entries(kinds).map(([kind, [, , label, text]], at) => el("label", { class: "choice" },
      el("input", { type: "radio", name: "export-kind", value: kind, checked: at === 0 }), el("span", {}, el("strong", {}, label), el("br"), el("span", { class: "quiet" }, text))));
    const kind = () => id("ask-body").querySelector("input:checked").value;
    this.#ask({
      title: `Export ${name}`, go: "Download",
      body: [el("fieldset", {}, el("legend", {}, "As what"), ...choices), el("p", { class: "quiet" }, "It holds the program's memory as it was, secrets and all.")],
      command: () => `dormouse export ${name} ${kinds[kind()][1]} ${kinds[kind()][0]}${keys}${hint}`,
      action: async () => {
        const [file] = kinds[kind()];
        const size = await download(`export/${part(job)}/${number}?as=${kind()}`, file);
        this.#tell(`${file}, ${bytes(size)}, was given to the browser`);
      },
    });
  }

  #delete() {
    const { job, number, mark, row, name } = this.#target();
    const force = el("input", { type: "checkbox", id: "delete-force" });
    const body = [el("p", {}, mark.own == null
      ? "Its manifest cannot be read. It is removed for good."
      : `It is removed for good, and ${bytes(mark.own)} that only it needs are freed.`)];
    const newest = this.page.timeline.checkpoints.at(-1).number === number;
    if (this.page.timeline.checkpoints.length === 1) body.push(el("p", { class: "notice" }, `It is the only checkpoint of ${job}.`));
    else if (newest) body.push(el("p", { class: "notice" }, "It is the newest: a resume goes on from the one before."));
    if (row?.running) body.push(el("label", { class: "choice" }, force, el("span", {}, `Also while ${job} is running`)));
    this.#ask({
      title: `Delete ${name}?`, go: "Delete", danger: true, body,
      order: () => ({ do: "remove", job, number, force: force.checked }),
      check: () => (row?.running && !force.checked ? `${job} is running; say that it is to be deleted nevertheless, or stop the job first.` : null),
      // With the last checkpoint goes the button that was pressed.
      then: () => id("job").hidden && (id("jobs").querySelector("a") ?? id("main")).focus(),
    });
  }

  // ---- directories that a program is given ----

  /** Where those it had are not taken again (files would be written into them), each is to be `anew`: none is filled in. */
  #directories(anew) {
    const preopens = this.page.detail.seen?.wasi.preopens ?? [];
    this.preopens = preopens.map(({ guest, host }) => ({ guest, was: anew ? null : host, input: el("input", { value: anew ? "" : host, autocomplete: "off", spellcheck: "false" }) }));
    if (!preopens.length) return [];
    return [el("fieldset", { class: "dirs" }, el("legend", {}, "Directories it is given"),
      ...this.preopens.map(({ guest, input }, at) => el("label", { class: "field" },
        el("span", {}, el("code", {}, guest), anew ? el("span", { class: "quiet" }, ` was ${preopens[at].host}`) : null), input)))];
  }

  #lacking() {
    const lacking = this.preopens.find(({ input }) => !input.value);
    return lacking ? `Say which directory of this host it is given as ${lacking.guest}.` : null;
  }

  #dirs() {
    return this.preopens.filter(({ was, input }) => input.value !== was).map(({ guest, input }) => ({ guest, host: input.value }));
  }

  // ---- one dialog for all ----

  #ask({ title, go, danger = false, body, order, command, rehearse = false, check = () => null, action, then }) {
    const mine = (this.#asked += 1);
    const button = id("ask-go");
    say(id("ask-title"), title);
    say(button, go);
    button.className = danger ? "danger primary" : "primary";
    id("ask-body").replaceChildren(...body);
    const status = (text, kind = "") => {
      id("ask-check").className = kind;
      say(id("ask-check"), text);
    };
    let turn = 0;
    let later = null;
    let looking = null;
    /** True if it can be done. */
    const see = async () => {
      const now = (turn += 1);
      const current = () => mine === this.#asked && now === turn;
      const problem = check();
      if (command) say(id("ask-command"), command());
      button.disabled = Boolean(problem);
      status(problem ?? (rehearse ? "Looking whether it can go on here…" : ""), problem ? "problem" : "");
      try {
        if (order && !(problem && rehearse)) {
          const { command: same } = await post("command", order());
          if (current()) say(id("ask-command"), same);
        }
        if (problem || !rehearse || !current()) return !problem;
        const report = await post("rehearse", order());
        if (!current()) return false;
        button.disabled = !report.can_resume;
        showRehearsal(report, status);
        return report.can_resume;
      } catch (error) {
        if (current()) status(error.message, "problem");
        return false;
      }
    };
    const look = () => {
      clearTimeout(later);
      later = null;
      return (looking = see());
    };
    const typed = () => {
      // What was looked at was something else.
      turn += 1;
      clearTimeout(later);
      const problem = check();
      button.disabled = Boolean(problem);
      status(problem ?? "", problem ? "problem" : "");
      later = setTimeout(look, TYPING);
    };
    let going = false;
    this.go = async () => {
      if (going) return;
      going = true;
      // It waits for what is being looked at, or is still to be.
      const good = !rehearse || await (later === null ? looking : look());
      going = false;
      if (!good || mine !== this.#asked) return;
      button.disabled = true;
      try {
        if (action) {
          status("Making the file…");
          await action();
        } else {
          const deed = await this.#do(order());
          if (deed?.state === "failed") return status(deed.says, "problem");
        }
        if (mine === this.#asked) id("ask").close();
        then?.();
      } catch (error) {
        status(error.message, "problem");
        button.disabled = false;
      }
    };
    id("ask-body").oninput = rehearse ? typed : look;
    id("ask").onclose = () => clearTimeout(later);
    say(id("ask-command"), "");
    const ask = id("ask");
    ask.role = danger ? "alertdialog" : "dialog";
    if (danger) ask.setAttribute("aria-describedby", "ask-body");
    else ask.removeAttribute("aria-describedby");
    ask.showModal();
    // Enter does no harm.
    if (danger) id("ask-cancel").focus();
    look();
  }

  async #do(order) {
    try {
      return await post("do", order);
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Gone)) throw error;
      this.#tell(error.message);
      if (id("ask").open) throw error;
      return null;
    } finally {
      await this.refresh();
    }
  }

  async #copy() {
    const button = id("ask-copy");
    try {
      await navigator.clipboard.writeText(id("ask-command").textContent);
      say(button, "Copied");
    } catch {
      // Not allowed here: it is selected, to be copied by hand.
      getSelection().selectAllChildren(id("ask-command"));
      say(button, "Selected");
    }
    setTimeout(() => say(button, "Copy"), 2000);
  }
}

function words({ what, target, state, says }) {
  const how = state === "failed" && !says.startsWith("failed") ? `failed: ${says}` : says;
  return `${what} ${target}: ${how || (state === "running" ? "on its way" : state)}`;
}

/** What `resume --dry-run` says. */
function showRehearsal(report, status) {
  if (!report.can_resume) return status(report.problem, "problem");
  const told = [`It can go on here, with ${bytes(report.memory_bytes)} of memory.`];
  if (report.files_put_back) told.push("Files that the program changed after the checkpoint are put back.");
  if (report.files_left_as_they_are) told.push("Files are not put back: the job went on from an earlier checkpoint since, or elsewhere.");
  const lists = { files_written: "written from the checkpoint", files_made: "made", files_removed: "removed" };
  for (const [key, words] of Object.entries(lists)) {
    const files = report[key];
    if (files.length) told.push(`${files.slice(0, 5).join(", ")}${files.length > 5 ? ` and ${files.length - 5} more` : ""}: ${words}.`);
  }
  for (const cut of report.files_cut) told.push(`${cut.path} is cut from ${bytes(cut.now)} to ${bytes(cut.size)}.`);
  status(told.join(" "), "good");
}
