// The page of the set of nodes, with answers as three nodes give them.

import assert from "node:assert/strict";
import axe from "axe-core";
import { logIn, visit } from "./browser.js";

const member = (name, rest) => ({ name: `leveret@${name}`, id: `000000000000000${name}`, address: `${name}:25672`, role: "follower", running: true, lag: 0, unheard_ms: 20, version: "1.0", mem_used: 1024, disk_free: 2048, ...rest });

const SET = {
  id: "00000000000000ff", leader: "leveret@a", term: 7, elections: 3, last_index: 1200, committed: 1199, applied: 1198, advice: null,
  members: [member("a", { role: "leader", lag: null, unheard_ms: null }), member("b", { lag: 12 }), member("c", { running: false, lag: 400, unheard_ms: 65_300, version: null, mem_used: null, disk_free: null })],
};

const answer = (page, set) => page.route("**/api/leveret/set", (route) => route.fulfill({ json: set }));
const cells = (page, name) => page.getByRole("row", { name: `leveret@${name}` }).getByRole("cell").allInnerTexts();

export const checks = {
  async "the nodes of a set with role, lag and last contact, and what is missing"({ page }) {
    await answer(page, SET);
    await logIn(page);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await visit(page, "set");
    await page.getByRole("rowheader", { name: "leveret@c" }).waitFor();
    assert.deepEqual((await cells(page, "a")).slice(0, 3), ["leader", "–", "–"]);
    assert.deepEqual((await cells(page, "b")).slice(0, 3), ["follower", "12", "now"]);
    assert.deepEqual((await cells(page, "c")).slice(0, 3), ["not heard", "400", "1 min 5 s ago"]);
    const facts = await page.getByRole("region", { name: "Set", exact: true }).innerText();
    for (const text of ["leveret@a", "7", "3", "1,200; a majority has 1,199, and 1,198 are applied here"]) assert.ok(facts.includes(text), `${text}: ${facts}`);
    await page.evaluate(axe.source);
    const { violations: [fault] } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    assert.ok(fault === undefined, `${fault?.id}: ${fault?.nodes[0].html}`);
    await page.setViewportSize({ width: 375, height: 720 });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 375, `${width} pixels wide`);
    await page.unroute("**/api/leveret/set");
    await answer(page, { ...SET, leader: null, advice: "1 of 3 voting members are there" });
    await page.reload();
    await page.getByText("1 of 3 voting members are there").waitFor();
  },

  async "a node by itself says that it has no set"({ page, allowRefusals }) {
    allowRefusals();
    await logIn(page);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await visit(page, "set");
    await page.getByText("This node runs by itself.").waitFor();
  },
};
