// Opens a page in a headless Chromium, in every colour scheme and width given, and prints what is there as JSON.
// look.cjs MODULES EXECUTABLE PAGE [SHOTS]: EXECUTABLE may be empty, for the Chromium that comes as a package; SHOTS
// is a folder for pictures of the page, for people.
"use strict";
const { createRequire } = require("node:module");
const path = require("node:path");
const [modules, executable, page, shots] = process.argv.slice(2);
const load = createRequire(path.join(modules, "package.json"));
const NO_BROWSER = 3; // the exit code where none starts
const WIDTHS = { wide: 1280, phone: 360 };
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

async function browser() {
  const { chromium } = load("playwright-core");
  if (!executable) process.env.AWS_LAMBDA_JS_RUNTIME = `nodejs${process.versions.node}`; // it then unpacks its libraries too
  const packed = executable ? null : (await import(load.resolve("@sparticuz/chromium"))).default;
  return chromium.launch({ executablePath: executable || (await packed.executablePath()), args: ARGUMENTS });
}

// Runs in the page: every text that can be seen, with its contrast against what is behind it.
function contrasts() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
      if (colour[3] !== 0) throw new Error(`a ground that can be seen through: ${at.className}`);
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, svg") || !element.checkVisibility()) continue;
    const [one, other] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push({ text: walker.currentNode.data.trim().slice(0, 40), contrast });
  }
  return found.sort((a, b) => a.contrast - b.contrast);
}

const size = (element) => element.evaluate((one) => {
  const { width, height } = one.getBoundingClientRect();
  return Math.min(width, height);
});

async function look(open, scheme, width) {
  const context = await open.newContext({ colorScheme: scheme, viewport: { width: WIDTHS[width], height: 900 } });
  const tab = await context.newPage();
  const told = { scheme, width, errors: [], requests: [] };
  tab.on("console", (message) => told.errors.push(message.text()));
  tab.on("pageerror", (fault) => told.errors.push(fault.message));
  tab.on("request", (request) => told.requests.push(request.url()));
  await tab.goto(`file://${page}`);
  if (shots) await tab.screenshot({ path: path.join(shots, `${scheme}-${width}.png`), fullPage: true });
  await tab.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  told.headings = await tab.locator("h1, h2, h3").filter({ visible: true }).allTextContents();
  told.charts = await Promise.all((await tab.getByRole("img").all()).map(size));
  told.names = await tab.getByRole("img").evaluateAll((all) => all.map((one) => one.querySelector("title").textContent));
  told.overflow = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  told.contrasts = await tab.evaluate(contrasts);
  const ground = () => tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
  told.grounds = [await ground()];
  for (let n = 0; n < 2; n += 1) {
    await tab.getByRole("button", { name: /colours/ }).click();
    told.grounds.push(await ground());
  }
  const sorter = tab.getByRole("button", { name: "rows", exact: true }).first();
  await sorter.click();
  const filled = () => tab.locator("table[data-sortable]").first().locator("td[data-kind=filled]").allTextContents();
  told.ascending = await filled();
  await sorter.click();
  told.descending = await filled();
  await context.close();
  return told;
}

async function lookWithoutScript(open) {
  const context = await open.newContext({ javaScriptEnabled: false });
  const tab = await context.newPage();
  await tab.goto(`file://${page}`);
  const told = { headings: await tab.locator("h1, h2, h3").filter({ visible: true }).count(),
    charts: await tab.getByRole("img").filter({ visible: true }).count(),
    buttons: await tab.locator("button").filter({ visible: true }).count() };
  await context.close();
  return told;
}

(async () => {
  const open = await browser().catch((fault) => {
    console.error(fault);
    process.exit(NO_BROWSER);
  });
  const looks = [];
  for (const scheme of ["light", "dark"]) {
    for (const width of Object.keys(WIDTHS)) looks.push(await look(open, scheme, width));
  }
  console.log(JSON.stringify({ looks, plain: await lookWithoutScript(open) }));
  await open.close();
})().catch((fault) => {
  console.error(fault);
  process.exit(1);
});
