// Lists of many queues, the keyboard, colours and small screens.

import assert from "node:assert/strict";
import axe from "axe-core";
import { declare, declareMany, removeQueue } from "./api.js";
import { logIn, visit } from "./browser.js";

const MANY = 10_000;
const PREFIX = "page.many.";
/** The aim is a second; a busy machine gets more before the check fails. */
const FIRST_PAGE_MS_MAX = 2_000;

const PAGES = ["overview", "connections", "channels", "exchanges", "queues", "streams", "cmq", "policies", "shovels", "vhosts", "users", "definitions", "node"];

const rows = (page) => page.getByRole("group", { name: "Queues" }).getByRole("rowheader");
const names = (page) => rows(page).allInnerTexts();

export const checks = {
  async "10,000 queues, the first page, paging, sorting and search"({ page, tell }) {
    const close = await declareMany(PREFIX, MANY);
    await logIn(page);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    const times = [];
    for (let round = 0; round < 3; round += 1) {
      await visit(page, "overview");
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      const start = Date.now();
      await visit(page, "queues");
      await rows(page).first().waitFor();
      times.push(Date.now() - start);
    }
    tell(`first page after ${times.join(", ")} ms`);
    assert.ok(Math.min(...times) < FIRST_PAGE_MS_MAX, `the first page took ${times} ms`);
    assert.ok((await rows(page).count()) <= 50);
    await page.getByRole("searchbox").fill(`${PREFIX}0012`);
    await page.getByText(/^1–10 of 10/).waitFor();
    assert.deepEqual(await names(page), Array.from({ length: 10 }, (_, digit) => `${PREFIX}0012${digit}`));
    await page.getByRole("button", { name: "Name" }).click();
    await page.waitForFunction((name) => document.querySelector("tbody th").textContent === name, `${PREFIX}00129`);
    await page.getByRole("searchbox").fill(PREFIX);
    await page.getByText(/^1–50 of 10,000/).waitFor();
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByText(/^51–100 of 10,000/).waitFor();
    assert.equal((await names(page))[0], `${PREFIX}09949`);
    await page.reload();
    await page.getByText(/^51–100 of 10,000/).waitFor();
    await page.getByLabel("Regular expression").check();
    await page.getByRole("searchbox").fill(`^${PREFIX}0{4}[12]$`);
    await page.getByText(/^1–2 of 2/).waitFor();
    await close();
  },

  async "the keyboard alone logs in, skips the navigation, opens and closes a dialog"({ page }) {
    await page.keyboard.type("guest");
    await page.keyboard.press("Tab");
    await page.keyboard.type("guest");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.evaluate(() => document.body.focus());
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    await visit(page, "queues");
    await page.getByRole("button", { name: "Add a queue" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.name), "name");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Add a queue");
  },

  async "axe finds no accessibility fault on any page, light or dark"({ page }) {
    await declare("page.axe");
    const close = await declareMany("page.axe.", 3);
    await logIn(page);
    const addresses = [...PAGES.map((name) => [name]), ["queues", "/", "page.axe"], ["exchanges", "/", "amq.topic"], ["users", "guest"], ["vhosts", "/"]];
    for (const [colorScheme, address] of ["light", "dark"].flatMap((scheme) => addresses.map((one) => [scheme, one]))) {
      await page.emulateMedia({ colorScheme });
      await visit(page, ...address);
      await page.waitForLoadState("networkidle");
      // By `evaluate`, since the page's policy forbids added scripts.
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      const [fault] = violations;
      assert.ok(fault === undefined, `${colorScheme} ${address}: ${fault?.id}: ${fault?.nodes[0].html}`);
    }
    await close();
    await removeQueue("page.axe");
  },

  async "numbers, sizes, rates and times as people read them"({ page }) {
    const cases = [
      ["count", 0, "0"], ["count", 12345, "12,345"], ["count", 12_345_678, "12.3M"], ["count", undefined, "–"],
      ["rate", 0, "0/s"], ["rate", 0.42, "0.4/s"], ["rate", 1234.5, "1,235/s"],
      ["bytes", 0, "0 B"], ["bytes", 1536, "1.5 KiB"], ["bytes", 200 * 1024, "200 KiB"], ["bytes", 14.1 * 2 ** 30, "14.1 GiB"],
      ["duration", 250, "250 ms"], ["duration", 61_000, "1 min 1 s"], ["duration", 7_200_000, "2 h"], ["duration", 273_600_000, "3 d 4 h"],
      ["plain", "text", "text"], ["plain", { a: [1, true] }, '{"a":[1,true]}'],
    ];
    const read = await page.evaluate(async (all) => {
      const format = await import("/lib/format.js");
      return all.map(([name, value]) => format[name](value));
    }, cases);
    assert.deepEqual(read, cases.map(([, , text]) => text));
  },

  async "light and dark colours, by the system and by choice"({ page }) {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await logIn(page);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    const light = await background();
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await background();
    assert.notEqual(dark, light);
    await page.getByLabel("Colours").selectOption("light");
    assert.equal(await background(), light);
    await page.reload();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    assert.equal(await background(), light);
    await page.getByLabel("Colours").selectOption("system");
    assert.equal(await background(), dark);
  },

  async "a phone's width needs no sideways scrolling"({ page }) {
    await page.setViewportSize({ width: 375, height: 720 });
    await logIn(page);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    for (const name of PAGES) {
      await visit(page, name);
      await page.getByRole("heading", { level: 1 }).waitFor();
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= 375, `${name} is ${width} pixels wide`);
    }
    await page.getByRole("button", { name: "Menu" }).click();
    await page.getByRole("link", { name: "Exchanges" }).click();
    await page.getByRole("heading", { name: "Exchanges" }).waitFor();
  },
};
