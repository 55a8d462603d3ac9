// Logging in and out, users with few rights, and names and messages that look like markup.

import assert from "node:assert/strict";
import { api, declare, publish, queuePath, removeQueue, URL_OF_PAGE } from "./api.js";
import { figure, logIn, reads, unfold, visit } from "./browser.js";

const MARKUP = `<img src=x onerror="alert('name')"><script>alert(1)</script>&amp;`;
const USER = "page.few";

async function userWith(tags, permissions) {
  await api("PUT", `/users/${USER}`, { password: "secret", tags });
  if (permissions) await api("PUT", `/permissions/%2F/${USER}`, permissions);
}

/** What the modules of each folder may import. */
const ARROWS = { lib: /^\.\//, parts: /^\.\/|^\.\.\/lib\//, pages: /^\.\/|^\.\.\/(lib|parts)\// };

/** The text of `main.js` and of everything that it imports, by address. */
async function allModules() {
  const modules = new Map();
  const open = [`${URL_OF_PAGE}/main.js`, `${URL_OF_PAGE}/theme.js`];
  while (open.length > 0) {
    const address = open.pop();
    if (modules.has(address)) continue;
    const answer = await fetch(address);
    assert.equal(answer.status, 200, address);
    const text = await answer.text();
    modules.set(address, text);
    for (const [, name] of text.matchAll(/from "(\.[^"]+)"/g)) open.push(new URL(name, address).href);
  }
  return modules;
}

export const checks = {
  async "log in, stay so after a reload, log out"({ page }) {
    await logIn(page);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("User name").waitFor();
    await page.reload();
    await page.getByLabel("User name").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.getItem("leveret.authorization")), null);
  },

  async "a wrong password is refused"({ page, allowRefusals }) {
    allowRefusals();
    await logIn(page, "guest", "wrong");
    await page.getByRole("alert").getByText("Wrong user name or password.").waitFor();
  },

  async "a user without a tag is refused with the reason"({ page, allowRefusals }) {
    allowRefusals();
    await userWith("");
    await logIn(page, USER, "secret");
    await page.getByRole("alert").getByText("Refused: Not management user").waitFor();
    await api("DELETE", `/users/${USER}`);
  },

  async "a user with few rights sees what is refused, and no more"({ page, allowRefusals }) {
    allowRefusals();
    await removeQueue("page.guarded");
    await declare("page.guarded");
    await publish("page.guarded", "stays");
    await userWith("management", { configure: "^$", write: "^$", read: "^$" });
    await logIn(page, USER, "secret");
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    for (const hidden of ["Users", "Definitions", "Node"]) assert.equal(await page.getByRole("link", { name: hidden, exact: true }).count(), 0, hidden);
    await visit(page, "users");
    await page.getByText('This page needs a user with the tag "administrator"').waitFor();
    await visit(page, "policies");
    await page.getByRole("heading", { name: "Policies", exact: true }).waitFor();
    assert.equal(await page.getByRole("button", { name: "Add a policy" }).count(), 0);
    await visit(page, "queues", "/", "page.guarded");
    await reads(figure(page, "Ready"), "1");
    await page.getByRole("button", { name: "Purge" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge" }).click();
    await page.locator(".toasts .danger").first().waitFor();
    await reads(figure(page, "Ready"), "1");
    await api("DELETE", `/users/${USER}`);
    await removeQueue("page.guarded");
  },

  async "a log-in ends when the user is deleted"({ page, allowRefusals }) {
    allowRefusals();
    await userWith("management", { configure: "^$", write: "^$", read: "^$" });
    await logIn(page, USER, "secret");
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await api("DELETE", `/users/${USER}`);
    await page.getByLabel("User name").waitFor();
  },

  async "markup in names, arguments and messages stays text"({ page }) {
    await removeQueue(MARKUP);
    await declare(MARKUP, { arguments: { "x-dead-letter-routing-key": MARKUP, "x-dead-letter-exchange": "" } });
    await api("PUT", `/exchanges/%2F/${encodeURIComponent(MARKUP)}`, { type: "fanout", durable: true });
    await api("POST", `/bindings/%2F/e/${encodeURIComponent(MARKUP)}/q/${encodeURIComponent(MARKUP)}`, { routing_key: MARKUP, arguments: { [MARKUP]: MARKUP } });
    await publish(MARKUP, MARKUP, { headers: { [MARKUP]: MARKUP }, content_type: MARKUP, message_id: MARKUP });
    await logIn(page);
    await visit(page, "queues");
    await page.getByRole("rowheader", { name: MARKUP }).getByRole("link").click();
    await page.getByRole("heading", { name: MARKUP }).waitFor();
    await unfold(page, "Get messages");
    await page.getByRole("button", { name: "Get messages" }).click();
    const message = page.getByRole("article", { name: "Message 1" });
    await reads(message.locator("pre"), MARKUP);
    assert.equal((await message.innerText()).split(MARKUP).length - 1, 6);
    await visit(page, "exchanges", "/", MARKUP);
    await page.getByRole("rowheader", { name: MARKUP }).waitFor();
    assert.equal(await page.locator("main img, main script, dialog img, dialog script").count(), 0);
    await api("DELETE", `/exchanges/%2F/${encodeURIComponent(MARKUP)}`);
    await api("DELETE", queuePath(MARKUP));
  },

  async "no module of the page writes markup, runs text as code or imports against the arrows"() {
    const modules = await allModules();
    assert.ok(modules.size > 30, `only ${modules.size} modules were found`);
    for (const [name, text] of modules) {
      const found = text.match(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setTimeout\("|https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
      assert.equal(found, null, `${name}: ${found?.[0]}`);
      const [, folder] = name.match(/\/(lib|parts|pages)\//) ?? [];
      const upwards = [...text.matchAll(/from "(\.[^"]+)"/g)].map(([, imported]) => imported).filter((imported) => !ARROWS[folder]?.test(imported));
      assert.ok(folder === undefined || upwards.length === 0, `${name} imports ${upwards}`);
    }
  },
};
