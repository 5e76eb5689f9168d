// What a person does with the page of `dormouse ui`, in Chromium. Run by ui.rs:
//
//   node ui.mjs PLAYWRIGHT CHROMIUM ADDRESS SAVED PLAIN PID
//
// SAVED is where downloads go, PLAIN what the program prints when nobody interrupts it, PID the process that serves the page.
// Nothing here waits for a time, only for what is to be seen.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const [, , playwright, executablePath, address, saved, plain, pid] = process.argv;
const { chromium } = createRequire(import.meta.url)(playwright);
const origin = new URL(address).origin;
const PATIENCE = 180_000;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const context = await browser.newContext({ acceptDownloads: true, viewport: { width: 1280, height: 900 } });
context.setDefaultTimeout(PATIENCE);
const trouble = [];
const elsewhere = [];

async function open(url) {
  const page = await context.newPage();
  page.on("pageerror", (error) => trouble.push(String(error)));
  page.on("dialog", (dialog) => { trouble.push(`alert: ${dialog.message()}`); dialog.dismiss(); });
  page.on("console", (message) => {
    // A refusal (409, 401) is an answer.
    if (!/status of 4\d\d|ERR_CONNECTION/.test(message.text())) trouble.push(message.text());
  });
  page.on("request", (request) => {
    if (![origin, `blob:${origin}`].some((own) => request.url().startsWith(own))) elsewhere.push(request.url());
  });
  await page.goto(url);
  return page;
}

const page = await open(address);
const button = (name, within = page) => within.getByRole("button", { name, exact: true });
const dialog = page.locator("#ask");
const slider = page.getByRole("slider", { name: "Checkpoint" });
const title = page.locator("#checkpoint-title");

/** Waits until something holds. */
async function until(what, holds) {
  const end = Date.now() + PATIENCE;
  let last;
  for (;;) {
    try {
      last = await holds();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain for ${what}: ${last}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const text = async (locator) => (await locator.textContent()).replace(/\s+/g, " ").trim();

async function go(job, number) {
  await page.getByRole("link", { name: new RegExp(`^${job} `) }).click();
  if (number) {
    await until(`the list of ${job}`, async () => (await slider.getAttribute("aria-valuetext"))?.startsWith(`${job}@`));
    await slider.focus();
    await page.keyboard.press("End");
    await until(`${job}@${number}`, async () => {
      if ((await text(title)) === `${job}@${number}`) return true;
      await page.keyboard.press("ArrowLeft");
    });
  }
}

/** How the newest deed about this ended. */
const ended = (what) => until(`the end of ${what}`, async () => {
  const deed = page.locator("#activity-list > li").filter({ hasText: what }).first();
  const state = await text(deed.locator(".badge"));
  return state !== "running" && { state, says: await text(deed.locator(".says")), deed };
});

const steps = {
  async "the token leaves the address"() {
    await until("the jobs", async () => (await page.locator("#jobs > li").count()) === 4);
    assert.ok(!page.url().includes("token"), page.url());
    assert.match(await text(page.locator("#sums")), /^4 jobs · 7 checkpoints · /);
    const jobs = await page.locator("#jobs > li").allTextContents();
    assert.deepEqual(jobs.map((job) => /^(\w+?)(running|asleep)/.exec(job)?.slice(1)), [
      ["live", "running"], ["nap", "asleep"], ["odd", "asleep"], ["torn", "asleep"],
    ]);
    // What runs is what one comes for.
    assert.equal(await text(page.locator("#job-title")), "live running");
  },

  async "a timeline, and the stack at each checkpoint"() {
    await go("nap");
    await until("nap@3", async () => /^nap@3, 3 of 3, saved .*pause .* new/.test(await slider.getAttribute("aria-valuetext")));
    assert.equal(await slider.getAttribute("aria-valuemax"), "3");
    assert.equal(await page.locator("#timeline .bar.on").count(), 3, "pause, data and interval of the one that is chosen");
    await until("the memory of all three", async () => (await page.locator("#timeline .cell.pending").count()) === 0);
    assert.ok((await page.locator("#timeline .cell.zero").count()) >= 3);
    await until("the stack", async () => /spin.*deep.*100 times.*_start/.test(await text(page.locator(".stack"))));
    assert.match(await text(page.locator("#checkpoint-body")), /103 frames, innermost first/);
    await page.locator(".stack summary").first().click();
    assert.match(await text(page.locator(".stack li").first()), /WebAssembly locals.*i64/);
    assert.match(await text(page.locator("#checkpoint-body")), /changed since nap@2/);
    // Another one by pointer: the first column.
    const box = await until("its number", () => page.locator("#timeline svg .tick").first().boundingBox());
    await page.mouse.click(box.x + box.width / 2, box.y - 30);
    await until("nap@1", async () => (await text(title)) === "nap@1");
    await page.getByText("The same as a table").click();
    await until("three rows", async () => (await page.locator("#table-rows tr").count()) === 3);
    await button("nap@2").click();
    await until("nap@2", async () => (await text(title)) === "nap@2");
    // It is in the address, so that it can be kept and gone back to.
    assert.ok(page.url().endsWith("#/nap/2"), page.url());
    await page.reload();
    await until("nap@2 again", async () => (await text(title)) === "nap@2");
  },

  async "a checkpoint now"() {
    await go("live");
    await until("live@1", async () => /^live@1, 1 of 1/.test(await slider.getAttribute("aria-valuetext")));
    assert.equal(await text(page.locator("#checkpoint-command")), "dormouse checkpoint live");
    await button("Checkpoint now").click();
    await until("live@2", async () => (await text(title)) === "live@2" && (await slider.getAttribute("aria-valuemax")) === "2");
    const { state, says } = await ended("dormouse checkpoint live");
    assert.equal(state, "done");
    assert.match(says, /^live@2 /);
    await until("it to be read out", async () => /^checkpoint live: live@2 /.test(await text(page.locator("#live"))));
    // It runs, so it cannot be resumed; that is said before anything is done.
    await button("Resume here").click();
    await until("why not", async () => /job live is running already/.test(await text(page.locator("#ask-check"))));
    assert.ok(await button("Resume", dialog).isDisabled());
    await button("Cancel", dialog).click();
  },

  async "a clone"() {
    await go("nap", 1);
    await button("Clone").click();
    const name = dialog.getByLabel("Name of the new job");
    assert.equal(await name.inputValue(), "nap-2");
    await name.fill("../twin");
    await name.blur();
    await until("what a name has", async () => /A name has letters/.test(await text(page.locator("#ask-check"))));
    assert.ok(await button("Clone", dialog).isDisabled());
    await name.fill("twin");
    await name.blur();
    await until("that it can go on", async () => /It can go on here/.test(await text(page.locator("#ask-check"))));
    assert.equal(await text(page.locator("#ask-command")), "dormouse resume nap@1 --clone=twin");
    await button("Clone", dialog).click();
    await until("the dialog to close", async () => !(await dialog.isVisible()));
    assert.match(page.url(), /#\/twin$/);
    await page.locator("#activity summary").click();
    const { state, says, deed } = await ended("--clone=twin");
    assert.deepEqual([state, says], ["done", "ended with status 0"]);
    await deed.getByRole("button").click();
    await until("what it printed", async () => (await text(deed.locator("pre"))).endsWith(plain));
    await page.locator("#activity summary").click();
  },

  async "a resume of an older one"() {
    await go("nap", 2);
    await button("Resume here").click();
    assert.match(await text(dialog), /not the newest: what nap did after nap@2 is left behind\. 1 newer checkpoint \(up to nap@3\) stay/);
    await until("that it can go on", async () => /It can go on here, with 2\.0 MiB/.test(await text(page.locator("#ask-check"))));
    assert.equal(await text(page.locator("#ask-command")), "dormouse resume nap@2");
    await button("Resume", dialog).click();
    const { says } = await ended("dormouse resume nap@2");
    assert.equal(says, "ended with status 0");
  },

  async "exports"() {
    await go("nap", 2);
    for (const [choice, option, file] of [[/A WASI module/, "--wasm", "nap-2.wasm"], [/A core dump/, "--coredump", "nap-2.core"]]) {
      await button("Export").click();
      await dialog.getByLabel(choice).check();
      await until("the command", async () => (await text(page.locator("#ask-command"))) === `dormouse export nap@2 ${option} ${file}`);
      const download = page.waitForEvent("download");
      await button("Download", dialog).click();
      const given = await download;
      assert.equal(given.suggestedFilename(), file);
      await given.saveAs(path.join(saved, file));
      await until("the dialog to close", async () => !(await dialog.isVisible()));
    }
  },

  async "nothing is deleted without a word"() {
    await go("nap", 1);
    const command = (same) => until(same, async () => (await text(page.locator("#ask-command"))) === same);
    await button("Delete").click();
    assert.equal(await text(page.locator("#ask-title")), "Delete nap@1?");
    await command("dormouse rm nap@1");
    await page.getByRole("alertdialog", { name: "Delete nap@1?" }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "ask-cancel", "Enter does no harm");
    await button("Cancel", dialog).click();
    assert.equal(await slider.getAttribute("aria-valuemax"), "3");
    await button("Delete").click();
    await button("Delete", dialog).click();
    await until("two to be left", async () => (await slider.getAttribute("aria-valuemax")) === "2");
    assert.equal((await ended("dormouse rm nap@1")).state, "done");
    // The nearest one is shown then.
    await until("another one", async () => (await text(title)) !== "nap@1");
    // Of a job that runs, it takes a second word.
    await go("live", 1);
    await button("Delete").click();
    await until("why not", async () => /live is running/.test(await text(page.locator("#ask-check"))));
    assert.ok(await button("Delete", dialog).isDisabled());
    await dialog.getByLabel(/Also while live is running/).check();
    await command("dormouse rm live@1 --force");
    await button("Delete", dialog).click();
    await until("one to be left", async () => (await slider.getAttribute("aria-valuemax")) === "1");
  },

  async "damage is told"() {
    await go("torn", 1);
    await until("what is damaged", async () => /damaged|digest/.test(await text(page.locator("#checkpoint-notice"))));
    await until("a mark", async () => (await page.locator("#timeline .broken").count()) === 1);
    assert.match(await slider.getAttribute("aria-valuetext"), /damaged$/);
    await button("Resume here").click();
    await until("why not", async () => (await text(page.locator("#ask-check"))).includes("torn@1"));
    assert.ok(await button("Resume", dialog).isDisabled());
    await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
  },

  async "strange names are text"() {
    await go("odd");
    await until("its program", async () => (await text(page.locator("#job-program"))).includes("<img src=x onerror=alert(1)>.wasm"));
    await until("its arguments", async () => (await text(page.locator("#checkpoint-body"))).includes("<img src=x onerror"));
    assert.equal(await page.locator("img").count(), 1, "the mark");
  },

  async "by keyboard alone"() {
    await go("nap");
    await page.reload();
    await until("the page", async () => (await text(title)).startsWith("nap@"));
    /** Presses Tab until this has the focus. */
    const tab = async (what, holds) => {
      for (let n = 0; n < 60; n += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate(holds)) return;
      }
      throw new Error(`no way to ${what} with Tab`);
    };
    await tab("skip to the job", () => document.activeElement.className === "skip");
    const shown = await page.locator(".skip").boundingBox();
    assert.ok(shown.x >= 0 && shown.y >= 0, "what has the focus is seen");
    await page.keyboard.press("Enter");
    await tab("the timeline", () => document.activeElement.id === "timeline");
    assert.notEqual(await slider.evaluate((node) => getComputedStyle(node).outlineStyle), "none");
    await page.keyboard.press("Home");
    await until("nap@2", async () => (await text(title)) === "nap@2");
    await page.keyboard.press("ArrowRight");
    await until("nap@3", async () => (await text(title)) === "nap@3");
    await page.keyboard.press("ArrowRight");
    assert.equal(await text(title), "nap@3", "there is no more");
    await tab("Export", () => document.activeElement.id === "do-export");
    await page.keyboard.press("Enter");
    await until("the dialog", () => dialog.isVisible());
    assert.ok(await dialog.evaluate((node) => node.contains(document.activeElement)));
    await page.keyboard.press("Escape");
    await until("the dialog to close", async () => !(await dialog.isVisible()));
    assert.equal(await page.evaluate(() => document.activeElement.id), "do-export", "the focus goes back");
  },

  async "names and contrast"() {
    await go("nap", 2);
    await page.locator("#activity summary").click();
    const session = await context.newCDPSession(page);
    for (const place of ["page", "dialog"]) {
      if (place === "dialog") await button("Clone").click();
      const { nodes } = await session.send("Accessibility.getFullAXTree");
      const roles = ["button", "link", "textbox", "slider", "checkbox", "radio", "img", "dialog", "alertdialog", "DisclosureTriangle", "region", "navigation"];
      const seen = nodes.filter((node) => !node.ignored && roles.includes(node.role?.value));
      assert.ok(seen.length > (place === "page" ? 12 : 3), `${place}: ${seen.length}`);
      const nameless = seen.filter((node) => !node.name?.value?.trim()).map((node) => node.role.value);
      assert.deepEqual(nameless.filter((role) => role !== "region"), [], place);
      const main = nodes.filter((node) => node.role?.value === "main");
      if (place === "page") assert.equal(main.length, 1);
    }
    await page.keyboard.press("Escape");
    for (const colorScheme of ["light", "dark"]) {
      // Nothing fades, so that nothing is seen half-way.
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      assert.deepEqual(await page.evaluate(faint), [], colorScheme);
    }
    await page.emulateMedia({ colorScheme: null, reducedMotion: null });
    await page.locator("#activity summary").click();
  },

  async "narrow"() {
    await page.setViewportSize({ width: 360, height: 740 });
    await until("the timeline to fit", async () => page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth));
    await button("Resume here").scrollIntoViewIfNeeded();
    await page.setViewportSize({ width: 1280, height: 900 });
  },

  async "without the token, a question"() {
    // Its own session: nothing is kept there.
    const stranger = await open(`${origin}/`);
    await until("the gate", () => stranger.getByRole("heading", { name: "This page needs its address" }).isVisible());
    assert.ok(!(await stranger.locator("#columns").isVisible()));
    await stranger.getByLabel("Address or token").fill(address);
    await stranger.getByRole("button", { name: "Open" }).click();
    await until("the jobs", async () => (await stranger.locator("#jobs > li").count()) === 5 - 1);
    await stranger.close();
  },

  async "nothing was asked elsewhere, nothing broke"() {
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(trouble, []);
  },

  async "the end of the page is told"() {
    process.kill(Number(pid), "SIGINT");
    await until("that nobody answers", async () => /not connected/.test(await text(page.locator("#pulse"))));
    assert.match(await text(page.locator("#live")), /not connected/);
    assert.deepEqual(trouble, []);
  },
};

/** Texts whose contrast with what is behind them is less than 4.5 (3 where they are large). Runs in the page. */
function faint() {
  const parsed = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parsed(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest("svg, :disabled, .unseen, .skip, noscript")) continue;
    const style = getComputedStyle(node);
    const [one, other] = [light(parsed(style.color)), light(behind(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}

let failed = false;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAILED ${name}\n${error.stack}`);
    console.log(await page.locator("body").ariaSnapshot().catch(() => "no page"));
    failed = true;
    break;
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
