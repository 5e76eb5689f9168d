// The timeline: checkpoints side by side, oldest on the left, and four strips above each other that share them.
//
//   Pause     ▂ ▁ ▁ █ ▁
//   New data  █ ▁ ▂ ▁ ▁
//   Interval    ▃ ▃ ▃ ▇
//   Memory    ░ ▓ ░ ▒ ░     one column a checkpoint, address 0 on top: changed, as before, zero
//             1 2 3 4 5
//
// What is drawn is for the eye; the same is said by the slider's value (a screen reader's way) and in the table.

import { bytes, clock, count, el, micros, share, svg, taken, time } from "./words.js";

export const CELLS = 48;
const STRIP = 40;
const GAP = 16;
const CELL = 3.5;
const AXIS = 20;
/** Of fewer, none towers above the others. */
const MANY = 12;

const STRIPS = [
  { name: "Pause", of: (mark) => mark.pause, text: micros },
  { name: "New data", of: (mark) => mark.stored ?? mark.own, text: bytes },
  { name: "Interval", of: (mark) => mark.since, text: (s) => time(s) },
];

/** One checkpoint in words. */
export function inWords(mark, now) {
  const parts = [`saved ${clock(mark.created, now)}`];
  if (mark.pause != null) parts.push(`pause ${micros(mark.pause)}`);
  const data = mark.stored ?? mark.own;
  if (data != null) parts.push(`${bytes(data)} new`);
  if (mark.since != null) parts.push(`${time(mark.since)} after the one before`);
  const { heat } = mark;
  if (heat?.total) {
    const { changed, same, zero } = heat.total;
    const pages = changed + same + zero;
    parts.push(heat.compared ? `${share(changed, pages)} of memory changed` : `${share(pages - zero, pages)} of memory in use`);
  }
  if (mark.problem) parts.push(mark.problem);
  return parts.join(", ");
}

export class Timeline {
  #start = 0;
  #shown = 0;
  #hover = null;
  #what = null;

  /** Calls `choose` with a checkpoint's number, and `seen` with the marks in sight. */
  constructor({ node, readout, range, rangeBox, rangeLabel, choose, seen }) {
    Object.assign(this, { node, readout, range, rangeBox, rangeLabel, choose, seen });
    node.addEventListener("keydown", (event) => this.#key(event));
    node.addEventListener("click", (event) => {
      const at = this.#at(event);
      if (at !== null) this.choose(this.#what.marks[at].number);
    });
    node.addEventListener("pointermove", (event) => this.#point(this.#at(event)));
    node.addEventListener("pointerleave", () => this.#point(null));
    range.addEventListener("input", () => {
      this.#start = Number(range.value);
      this.#draw();
    });
    new ResizeObserver(() => this.#what && this.#draw()).observe(node);
  }

  /** Shows these marks, `selected` being a number, `heat` growing with what is known of memories. */
  show(what) {
    const before = this.#what;
    if (this.sight && ["marks", "selected", "heat"].every((key) => before?.[key] === what[key])) {
      return this.seen(this.sight);
    }
    const atEnd = !before || before.job !== what.job || this.#start + this.#shown >= before.marks.length;
    this.#what = what;
    if (!before || before.job !== what.job) this.#hover = null;
    if (atEnd) this.#start = Infinity;
    if (before?.selected !== what.selected || before?.job !== what.job) this.reveal = true;
    this.#draw();
  }

  #index() {
    return this.#what.marks.findIndex((mark) => mark.number === this.#what.selected);
  }

  #key(event) {
    if (!this.#what?.marks.length || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = this.#what.marks.length - 1;
    const at = this.#index();
    const page = Math.max(1, this.#shown - 1);
    const to = {
      ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
      PageDown: at - page, PageUp: at + page, Home: 0, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(this.#what.marks[Math.min(last, Math.max(0, to))].number);
  }

  #at(event) {
    if (!this.geometry) return null;
    const x = event.clientX - this.node.getBoundingClientRect().left - this.geometry.left;
    const column = Math.floor(x / this.geometry.wide);
    return column >= 0 && column < this.#shown ? this.#start + column : null;
  }

  #point(at) {
    if (at === this.#hover) return;
    this.#hover = at;
    this.#draw();
  }

  #draw() {
    const { marks, job, now } = this.#what;
    const width = this.node.clientWidth;
    if (!width || !marks.length) return;
    const narrow = width < 560;
    const left = narrow ? 84 : 96;
    const room = Math.max(40, width - left - 4);
    this.#shown = Math.min(marks.length, Math.floor(room / (narrow ? 12 : 14)));
    const most = marks.length - this.#shown;
    this.#start = Math.max(0, Math.min(this.#start, most));
    const at = this.#index();
    if (this.reveal && at >= 0) {
      if (at < this.#start) this.#start = at;
      if (at >= this.#start + this.#shown) this.#start = at - this.#shown + 1;
      this.reveal = false;
    }
    const wide = Math.min(64, room / this.#shown);
    this.geometry = { left, wide };
    const sight = marks.slice(this.#start, this.#start + this.#shown);
    this.#slider(marks, at, job, now);
    this.#window(marks, most);
    this.node.replaceChildren(this.#drawing({ sight, width, left, wide, selected: at - this.#start }));
    const told = marks[this.#hover ?? at];
    this.readout.replaceChildren(...(told ? [el("strong", {}, `${job}@${told.number}`), ` ${inWords(told, now)}`] : []));
    this.sight = sight;
    this.seen(sight);
  }

  #slider(marks, at, job, now) {
    const mark = marks[at];
    const values = { valuemin: 1, valuemax: marks.length, valuenow: at + 1 };
    values.valuetext = mark ? `${job}@${mark.number}, ${at + 1} of ${marks.length}, ${inWords(mark, now)}` : "none";
    for (const [name, value] of Object.entries(values)) {
      if (this.node.getAttribute(`aria-${name}`) !== String(value)) this.node.setAttribute(`aria-${name}`, value);
    }
  }

  #window(marks, most) {
    this.rangeBox.hidden = most === 0;
    if (most === 0) return;
    this.range.max = most;
    this.range.value = this.#start;
    const [first, last] = [marks[this.#start], marks[this.#start + this.#shown - 1]];
    this.rangeLabel.textContent = `Shown: ${first.number} to ${last.number}, of ${count(marks.length, "checkpoint")}`;
  }

  #drawing({ sight, width, left, wide, selected }) {
    const heatTop = STRIPS.length * (STRIP + GAP);
    const bottom = heatTop + CELLS * CELL;
    const height = bottom + AXIS + 4;
    const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const x = (column) => left + column * wide;
    const bar = Math.min(28, Math.max(3, wide * 0.64));
    const band = (column, name) => {
      if (column == null || column < 0 || column >= sight.length) return;
      root.append(svg("rect", { class: name, x: x(column), y: 0, width: wide, height: height - 1, rx: Math.min(6, wide / 4) }));
    };
    band(this.#hover === null ? null : this.#hover - this.#start, "hover");
    band(selected, "chosen");
    STRIPS.forEach(({ name, of, text }, row) => {
      const base = row * (STRIP + GAP) + STRIP;
      const values = sight.map((mark) => of(mark) ?? 0).sort((a, b) => a - b);
      const highest = values.at(-1);
      // A few that tower above all others are cut off, so that the others can be told apart.
      const usual = values[Math.floor((values.length - 1) * 0.9)];
      const top = values.length >= MANY && usual && highest > 4 * usual ? 1.5 * usual : highest;
      root.append(
        svg("text", { class: "strip", x: 0, y: base - STRIP + 16 }, name),
        svg("text", { class: "highest", x: 0, y: base - STRIP + 33 }, highest ? `up to ${text(highest)}` : "not known"),
        svg("line", { class: "base", x1: left, x2: left + sight.length * wide, y1: base + 0.5, y2: base + 0.5 }),
      );
      sight.forEach((mark, column) => {
        const value = of(mark);
        if (value == null) return;
        const high = top ? Math.max(1.5, Math.min(1, value / top) * (STRIP - 2)) : 1.5;
        const name = column === selected ? "bar on" : "bar";
        root.append(svg("rect", { class: name, x: x(column) + (wide - bar) / 2, y: base - high, width: bar, height: high, rx: Math.min(2, high / 2) }));
        if (value > top) root.append(svg("path", { class: "cut", d: `M${x(column) + (wide - bar) / 2 - 1} ${base - high + 9}l${bar + 2} -5` }));
      });
    });
    this.#heat(root, sight, { top: heatTop, x, wide });
    this.#axis(root, sight, { y: bottom + AXIS - 4, x, wide, selected, width });
    return root;
  }

  #heat(root, sight, { top, x, wide }) {
    // Memories grow: all are drawn to the scale of the largest.
    const largest = Math.max(0, ...sight.map((mark) => mark.heat?.bytes ?? 0));
    root.append(svg("text", { class: "strip", x: 0, y: top + 12 }, "Memory"));
    if (largest) root.append(svg("text", { class: "highest", x: 0, y: top + 29 }, bytes(largest)));
    const box = (column, from, to, name, high = CELL) =>
      root.append(svg("rect", { class: name, x: x(column) + 0.5, y: top + from * high, width: Math.max(1, wide - 1), height: (to - from) * high }));
    sight.forEach((mark, column) => {
      const cells = mark.heat?.cells;
      if (!cells) {
        box(column, 0, CELLS, mark.heat?.problem ? "cell unknown" : "cell pending");
        return;
      }
      const high = (CELLS * CELL * (mark.heat.bytes / largest)) / cells.length;
      let from = 0;
      for (let at = 1; at <= cells.length; at += 1) {
        if (cells[at] === cells[from]) continue;
        box(column, from, at, `cell ${cells[from]}`, high);
        from = at;
      }
      box(column, 0, cells.length, "cell-frame", high);
    });
    root.prepend(patterns());
  }

  #axis(root, sight, { y, x, wide, selected, width }) {
    const digits = String(sight.at(-1).number).length;
    const every = Math.max(1, Math.ceil((digits * 8 + 14) / wide));
    sight.forEach((mark, column) => {
      const near = selected >= 0 && Math.abs(column - selected) < every;
      const regular = (sight.length - 1 - column) % every === 0;
      if (column !== selected && (!regular || near)) return;
      root.append(svg("text", { class: column === selected ? "tick on" : "tick", x: Math.min(x(column) + wide / 2, width - digits * 3.8), y, "text-anchor": "middle" }, String(mark.number)));
    });
    sight.forEach((mark, column) => {
      if (mark.problem !== "damaged") return;
      const middle = x(column) + wide / 2;
      root.append(svg("path", { class: "broken", d: `M${middle - 4} ${y - 22}l8 8m0 -8l-8 8` }));
    });
  }
}

/** Stripes and dots, so that nothing is told by its colour alone. */
function patterns() {
  const pattern = (name, size, turn, ...children) => svg("pattern", { id: name, width: size, height: size, patternUnits: "userSpaceOnUse", patternTransform: turn },
    svg("rect", { class: "ground", width: size, height: size }), ...children);
  return svg("defs", {},
    ...[2, 4, 6].map((wide, at) => pattern(`hatch-${at + 1}`, 6, "rotate(45)",
      svg("rect", { class: "stripe", width: wide, height: 6 }), svg("rect", { class: "stripe-edge", width: 1, height: 6 }))),
    pattern("dots", 4, null, svg("circle", { class: "point", cx: 2, cy: 2, r: 0.9 })),
  );
}

/** A row a checkpoint, newest first. */
export function tableRow(mark, job, now) {
  const own = mark.own == null ? "damaged" : bytes(mark.own);
  const heat = mark.heat?.total ? inWords({ created: mark.created, heat: mark.heat }, now).split(", ").at(-1) : mark.heat?.problem ?? "–";
  return [
    `${job}@${mark.number}`, clock(mark.created, now), taken(mark.why), micros(mark.pause),
    time(mark.since), own, mark.shared == null ? "–" : bytes(mark.shared), heat,
  ];
}
