// Runs a WASI command in a page of a real browser: CHROMIUM DRIVER SHIM FILE HOST::GUEST...
// DRIVER is the folder of playwright-core, SHIM that of @bjorn3/browser_wasi_shim. Nothing is on a network: what the page asks for is
// answered here. STOP_AFTER and CHECKPOINT are as for shim.mjs.
import { writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { read, write } from "./files.mjs";
import { fromText, toText } from "./trees.mjs";

const [chromium, driver, shim, file, ...dirs] = process.argv.slice(2);
const given = dirs.map((dir) => dir.split("::"));
const here = dirname(fileURLToPath(import.meta.url));

const playwright = createRequire(import.meta.url)(driver);
const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  await page.route("**/*", (route) => {
    const path = new URL(route.request().url()).pathname;
    if (path === "/") return route.fulfill({ contentType: "text/html", body: "<!doctype html><title>a page</title>" });
    if (path === "/module.wasm") return route.fulfill({ path: file });
    if (path === "/dormouse.mjs") return route.fulfill({ path: join(here, "../../../../contrib/dormouse.mjs") });
    const script = path.startsWith("/shim/") ? join(shim, "dist", path.slice(6)) : join(here, path);
    return route.fulfill({ contentType: "text/javascript", path: script.endsWith("js") ? script : `${script}.js` });
  });
  await page.goto("http://dormouse.test/");
  const done = await page.evaluate(
    async ({ dirs, after }) => {
      const { fromText, toText } = await import("/trees.mjs");
      const { run } = await import("/run.mjs");
      const said = [];
      const module = await (await fetch("/module.wasm")).arrayBuffer();
      const trees = dirs.map(([guest, list]) => [guest, fromText(list)]);
      const say = (fd, data) => said.push([fd, data.toBase64()]);
      const stop = after && { after: Number(after), dormouse: await import("/dormouse.mjs") };
      const done = await run(await import("/shim/index.js"), module, trees, say, stop);
      return { code: done.code, said, trees: done.trees.map(toText), checkpoint: done.checkpoint?.toBase64() };
    },
    { dirs: given.map(([host, guest]) => [guest, toText(read(host))]), after: process.env.STOP_AFTER },
  );
  for (const [fd, data] of done.said) {
    const all = Uint8Array.fromBase64(data);
    for (let at = 0; at < all.length; ) at += writeSync(fd, all, at);
  }
  done.trees.forEach((tree, i) => write(given[i][0], fromText(tree)));
  process.exitCode = done.checkpoint ? 85 : done.code;
  if (done.checkpoint) writeFileSync(process.env.CHECKPOINT, Uint8Array.fromBase64(done.checkpoint));
} finally {
  await browser.close();
}
