// Headless Chromium, one fresh context for each check, and a watch for everything that must not happen in it.

import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
export const WAIT_MS = 10_000;

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });

/**
 * Opens the page in a context of its own. `faults()` lists errors of the console and of scripts, violations of the
 * Content-Security-Policy, and requests to other hosts; `options.refusals`
 * allows answers of the API that are no success.
 */
export async function open(browser, url, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: "light" });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const faults = [];
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("console", (message) => {
    const expected = options.refusals && message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !expected) faults.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(`${url}/`) && !/^(blob|data):/.test(request.url())) faults.push(`request to ${request.url()}`);
  });
  page.on("dialog", (dialog) => {
    faults.push(`a script of a message ran: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`Content-Security-Policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(`${url}/`);
  return { context, page, faults: () => faults };
}

export async function logIn(page, name = "guest", password = "guest") {
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** Opens a folded panel by its heading. */
export const unfold = (page, title) => page.locator("summary", { hasText: title }).click();

/** Goes to `#/part/part`, once the log-in is done. */
export async function visit(page, ...parts) {
  await page.locator("nav").waitFor({ state: "attached" });
  await page.evaluate((hash) => { location.hash = hash; }, `#/${parts.map(encodeURIComponent).join("/")}`);
}

/** A number of the row of large ones. */
export function figure(page, title) {
  return page.locator(".figure").filter({ has: page.getByText(title, { exact: true }) }).locator("b");
}

/** Waits until a locator's text is this; a refresh takes a few seconds. */
export async function reads(locator, text) {
  const deadline = Date.now() + WAIT_MS;
  let seen;
  do {
    seen = (await locator.count()) === 1 ? (await locator.innerText()).trim() : `${await locator.count()} elements`;
    if (typeof text === "string" ? seen === text : text.test(seen)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (Date.now() < deadline);
  throw new Error(`read "${seen}" instead of "${text}"`);
}
